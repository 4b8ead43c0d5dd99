//go:build race

package routetable

// underRace is whether the race detector makes everything ten to a hundred
// times as slow: tests then try fewer of very many combinations.
const underRace = true
