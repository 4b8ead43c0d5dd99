//go:build !race

package encap_test

const underRace = false
