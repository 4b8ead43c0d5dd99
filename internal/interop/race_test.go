//go:build race

package interop

// raceDetector slows what is checked byte by byte down tenfold.
const raceDetector = true
