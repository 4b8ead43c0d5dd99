// Package life holds weft's processes against what is promised of them: when a
// daemon starts and ends, what it leaves, and who finds its links. Its tests
// run the program as a user does, in hosts of the lab, with real devices.
package life
