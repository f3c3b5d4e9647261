package mac

import (
	"crypto/sha3"
	"encoding/binary"
)

// kmac is KMAC128 or KMAC256: SP 800-185 section 4.3.
type kmac struct {
	shake *sha3.SHAKE
	bytes int
}

func startKMAC(newCSHAKE func(n, s []byte) *sha3.SHAKE) func(key, customization []byte, n int) (computation, error) {
	return func(key, customization []byte, n int) (computation, error) {
		m := kmac{shake: newCSHAKE([]byte("KMAC"), customization), bytes: n}
		rate := m.shake.BlockSize()
		padded := make([]byte, 0, (len(key)+20)/rate*rate+rate) // 20: two numbers of 9 bytes at most
		padded = leftEncode(padded, uint64(rate))               //nolint:gosec // G115: 168 or 136
		padded = leftEncode(padded, 8*uint64(len(key)))
		padded = append(padded, key...)
		padded = append(padded, make([]byte, (rate-len(padded)%rate)%rate)...)
		m.write(padded)
		clear(padded)
		return m, nil
	}
}

func (m kmac) write(p []byte) { _, _ = m.shake.Write(p) } // fails only after Read, and sum is called once

func (m kmac) sum() []byte {
	m.write(rightEncode(nil, 8*uint64(m.bytes))) //nolint:gosec // G115: at most MaxTagBytes
	tag := make([]byte, m.bytes)
	_, _ = m.shake.Read(tag) // never fails: there is no limit to the output
	return tag
}

// leftEncode appends SP 800-185 section 2.3.1's left_encode.
func leftEncode(dst []byte, n uint64) []byte {
	b := significant(n)
	return append(append(dst, byte(len(b))), b...) //nolint:gosec // G115: 1 to 8
}

// rightEncode appends right_encode of the same section.
func rightEncode(dst []byte, n uint64) []byte {
	b := significant(n)
	return append(append(dst, b...), byte(len(b))) //nolint:gosec // G115: 1 to 8
}

// significant returns n in big-endian order without leading zeros, at least one byte.
func significant(n uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	i := 0
	for i < len(b)-1 && b[i] == 0 {
		i++
	}
	return b[i:]
}
