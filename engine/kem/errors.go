package kem

import (
	"errors"
	"strconv"

	"cryptoserve/engine/fault"
)

// Why a decryption failed, for the auditor. The caller gets one answer for all of them.
const (
	causeFrame   fault.Cause = "frame"   // too short, too long
	causePoint   fault.Cause = "point"   // the sender's public key is not one
	causeTag     fault.Cause = "tag"     // not authentic under this key, info and aad
	causePadding fault.Cause = "padding" // RSA-OAEP
)

// reason is what is wrong with a key, in words that a caller may read. It holds nothing of the key.
type reason string

func (r reason) Error() string { return string(r) }

// The reasons that several schemes have.
const (
	errPoint   reason = "it is not a point on the curve"
	errScalar  reason = "it is not a private key of the curve"
	errModulus reason = "it is not in the form of FIPS 203"
)

func malformed(op, field, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: op, Detail: "the " + field + " " + detail,
		Fields: []fault.Field{{Name: field, Detail: detail}},
	}
}

// badKey reports what a scheme has found. Errors of a library are not passed on: they could name values.
func badKey(op, field string, err error) error {
	var r reason
	if errors.As(err, &r) {
		return malformed(op, field, "is not usable: "+string(r))
	}
	return malformed(op, field, "is not usable with the algorithm")
}

func wrongLength(op, field string, want int) error {
	return malformed(op, field, "must be "+strconv.Itoa(want)+" bytes long")
}

func unusablePublic(op, field string) error {
	return malformed(op, field, "is not usable: it is not on the curve or of low order")
}

func wrongAlgorithm(op, unfit string) error { return malformed(op, "algorithm", unfit) }

func tooLarge(op, field string, limit int) error {
	detail := "must not be longer than " + strconv.Itoa(limit) + " bytes"
	return &fault.Error{
		Kind: fault.TooLarge, Op: op, Detail: "the " + field + " " + detail,
		Fields: []fault.Field{{Name: field, Detail: detail}},
	}
}

func decryptFailed(op string, why fault.Cause) error {
	return fault.Wrap(fault.DecryptFailed, op, "decryption failed", why)
}
