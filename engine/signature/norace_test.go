//go:build !race

package signature

const slowed = false
