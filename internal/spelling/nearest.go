// Package spelling finds the word that was probably meant.
package spelling

import "slices"

// Nearest returns the word at the smallest edit distance from typed, or ""
// when more than half of typed would have to change.
func Nearest(typed string, words []string) string {
	best, bestDistance := "", len(typed)/2+1
	for _, w := range slices.Sorted(slices.Values(words)) {
		if d := distance(typed, w); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
