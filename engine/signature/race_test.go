//go:build race

package signature

// slowed: the race detector makes the hash functions of circl some thirty times slower. Signing with the small parameter sets
// of SLH-DSA, a second or two otherwise, would take minutes, so it is left to the run without the detector, as is making keys.
const slowed = true
