package password

import (
	"encoding/base64"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
)

// Algorithms that are only read. They are not in the table of algorithms, and so never approved.
const (
	Argon2i algs.Name = "Argon2i"
	Argon2d algs.Name = "Argon2d" // refused by Verify
	Bcrypt  algs.Name = "bcrypt"
)

// The limits of a string.
const (
	maxEncodedBytes = 512
	minSaltBytes    = kdf.MinSaltBytes
	maxSaltBytes    = 64
	minHashBytes    = 16
	maxHashBytes    = 64
	minBcryptCost   = 4
	maxBcryptCost   = 15
	bcryptLength    = 60
)

// encoded is a parsed string. Its cost is within the limits.
type encoded struct {
	algorithm algs.Name
	cost      kdf.Cost
	salt      []byte
	hash      []byte
	legacy    bool   // spelled as the imported deployment did
	bcrypt    string // the whole string
}

// ids are the beginnings of strings that have a salt and a hash of their own.
var ids = map[string]algs.Name{
	"argon2id":      algs.Argon2id,
	"argon2i":       Argon2i,
	"argon2d":       Argon2d,
	"scrypt":        algs.Scrypt,
	"pbkdf2-sha256": algs.PBKDF2SHA256,
	"pbkdf2-sha512": algs.PBKDF2SHA512,
}

// String returns the string in PHC's form. It is the inverse of parse for everything but bcrypt and legacy spellings.
func (e *encoded) String() string {
	var head string
	switch c := e.cost; e.algorithm {
	case algs.Argon2id, Argon2i, Argon2d:
		head = fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d", strings.ToLower(string(e.algorithm)), c.MemoryKiB, c.Time, c.Parallelism)
	case algs.Scrypt:
		head = fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d", bits.Len(uint(c.N))-1, c.R, c.P)
	case algs.PBKDF2SHA256:
		head = fmt.Sprintf("$pbkdf2-sha256$i=%d", c.Iterations)
	case algs.PBKDF2SHA512:
		head = fmt.Sprintf("$pbkdf2-sha512$i=%d", c.Iterations)
	default: // bcrypt
		return e.bcrypt
	}
	return head + "$" + base64.RawStdEncoding.EncodeToString(e.salt) + "$" + base64.RawStdEncoding.EncodeToString(e.hash)
}

// parse reads a string without computing anything. Errors are fault.Malformed on the field "hash".
func parse(s string) (*encoded, error) {
	if len(s) > maxEncodedBytes {
		return nil, malformed("longer than any hash that this service reads")
	}
	fields := strings.Split(s, "$")
	if len(fields) < 4 || fields[0] != "" {
		return nil, malformed("not a password hash that this service reads")
	}
	switch fields[1] {
	case "2a", "2b", "2y":
		return parseBcrypt(s, fields[2:])
	}
	e := &encoded{algorithm: ids[fields[1]]}
	var text []string // salt and hash
	var ok bool
	switch e.algorithm {
	case algs.Argon2id, Argon2i, Argon2d:
		if len(fields) != 6 || fields[2] != "v=19" {
			return nil, malformed("not a hash of Argon2 version 1.3 (v=19)")
		}
		ok = numbers(fields[3], []string{"m=", "t=", "p="}, &e.cost.MemoryKiB, &e.cost.Time, &e.cost.Parallelism)
		text = fields[4:]
	case algs.Scrypt:
		ok = e.scryptCost(fields[2])
		text = fields[3:]
	case algs.PBKDF2SHA256, algs.PBKDF2SHA512:
		ok = numbers(fields[2], []string{"i="}, &e.cost.Iterations)
		if !ok {
			ok = numbers(fields[2], []string{""}, &e.cost.Iterations)
			e.legacy = true
		}
		text = fields[3:]
	default:
		return nil, malformed("not a password hash that this service reads")
	}
	if !ok || len(text) != 2 {
		return nil, malformed("its parameters are not as they should be")
	}
	if e.salt, ok = decode(text[0], minSaltBytes, maxSaltBytes, e.legacy); !ok {
		return nil, malformed(fmt.Sprintf("the salt is not %d to %d bytes of strict base64", minSaltBytes, maxSaltBytes))
	}
	if e.hash, ok = decode(text[1], minHashBytes, maxHashBytes, e.legacy); !ok {
		return nil, malformed(fmt.Sprintf("the hash is not %d to %d bytes of strict base64", minHashBytes, maxHashBytes))
	}
	if kdf.CheckCost(family(e.algorithm), e.cost, len(e.hash)) != nil {
		return nil, malformed("it costs more or less than this service computes")
	}
	return e, nil
}

// family returns the algorithm whose limits and defaults hold.
func family(name algs.Name) algs.Name {
	if name == Argon2i || name == Argon2d {
		return algs.Argon2id
	}
	return name
}

func (e *encoded) scryptCost(s string) bool {
	if numbers(s, []string{"n=", "r=", "p="}, &e.cost.N, &e.cost.R, &e.cost.P) {
		e.legacy = true
		return true
	}
	var ln int
	if !numbers(s, []string{"ln=", "r=", "p="}, &ln, &e.cost.R, &e.cost.P) || ln > bits.Len(kdf.MaxN)-1 {
		return false
	}
	e.cost.N = 1 << ln
	return true
}

func parseBcrypt(s string, fields []string) (*encoded, error) {
	cost, ok := 0, false
	if len(s) == bcryptLength && len(fields) == 2 && len(fields[0]) == 2 {
		cost, ok = number(strings.TrimPrefix(fields[0], "0"))
	}
	if !ok || strings.Trim(fields[1], "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
		return nil, malformed("not a hash of bcrypt")
	}
	if cost < minBcryptCost || cost > maxBcryptCost {
		return nil, malformed("it costs more or less than this service computes")
	}
	return &encoded{algorithm: Bcrypt, legacy: true, bcrypt: s}, nil
}

// numbers reads numbers that follow their names, in this order and separated by commas.
func numbers(s string, names []string, to ...*int) bool {
	parts := strings.Split(s, ",")
	if len(parts) != len(names) {
		return false
	}
	for i, name := range names {
		digits, ok := strings.CutPrefix(parts[i], name)
		if !ok {
			return false
		}
		if *to[i], ok = number(digits); !ok {
			return false
		}
	}
	return true
}

// number reads a decimal number of at most nine digits in the one way it is written.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && len(s) <= 9 && n >= 0 && strconv.Itoa(n) == s
}

// decode reads base64 in the one way it is written: with padding where the spelling is legacy, without otherwise.
func decode(s string, least, most int, padded bool) ([]byte, bool) {
	encoding := base64.RawStdEncoding
	if padded {
		encoding = base64.StdEncoding
	}
	// The package skips line ends, which no hash has.
	if len(s) > encoding.EncodedLen(most) || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := encoding.Strict().DecodeString(s)
	return b, err == nil && len(b) >= least && len(b) <= most
}

func malformed(detail string) *fault.Error { return refused("hash", detail) }

func refused(field, detail string) *fault.Error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "password", Detail: "the password cannot be hashed or verified as asked",
		Fields: []fault.Field{{Name: field, Detail: detail}},
	}
}
