package kdf

import (
	"bytes"
	"fmt"
	"math/bits"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// The limits of the package comment.
const (
	MinSecretBytes   = 16
	MaxSecretBytes   = 4096
	MinPasswordBytes = 1
	MaxPasswordBytes = 4096
	MinSaltBytes     = 8 // of passwords
	MaxSaltBytes     = 1024
	MaxInfoBytes     = 1024 // of info, label and context
	MaxOutputBytes   = 1024 // HKDF gives more: MaxOutput tells

	MinIterations     = 1_000
	MaxIterations     = 10_000_000
	maxWorkSHA256     = 10_000_000 // iterations x blocks
	maxWorkSHA512     = 4_000_000
	MinMemoryKiB      = 8 << 10
	MaxMemoryKiB      = 256 << 10
	MaxTime           = 10
	MaxParallelism    = 16
	maxMemoryTimesKiB = 1 << 20 // memory x time
	MinN              = 1 << 10
	MaxN              = 1 << 20
	MaxR              = 32
	MaxP              = 16
	maxScryptBytes    = 256 << 20 // 128 x N x r x p
)

// Cost is how much work a password costs. Each algorithm uses its own fields and refuses the others unless they are 0.
type Cost struct {
	Iterations  int // PBKDF2
	MemoryKiB   int // Argon2id: m
	Time        int // Argon2id: t, passes over the memory
	Parallelism int // Argon2id: p, lanes
	N           int // scrypt: CPU and memory cost, a power of two
	R           int // scrypt: block size
	P           int // scrypt: parallelization
}

// Params are the input of a derivation. A field that the algorithm does not use must be empty.
type Params struct {
	Secret      []byte // HKDF and KBKDF: the input key. Passwords: the password
	Salt        []byte // HKDF, passwords
	Info        []byte // HKDF
	Label       []byte // KBKDF: what the key is for
	Context     []byte // KBKDF: whose it is
	Cost        Cost   // passwords
	OutputBytes int
}

// DefaultCost returns the cost of a password where the caller does not choose: OWASP's advice for PBKDF2, the second
// recommended option of RFC 9106 section 4 for Argon2id (64 MiB, 3 passes, 4 lanes), and 128 MiB for scrypt. It is zero for
// what does not work on passwords.
func DefaultCost(name algs.Name) Cost {
	switch name {
	case algs.PBKDF2SHA256:
		return Cost{Iterations: 600_000}
	case algs.PBKDF2SHA512:
		return Cost{Iterations: 210_000}
	case algs.Argon2id:
		return Cost{MemoryKiB: 64 << 10, Time: 3, Parallelism: 4}
	case algs.Scrypt:
		return Cost{N: 1 << 17, R: 8, P: 1}
	default:
		return Cost{}
	}
}

// MaxOutput returns the most bytes that an algorithm derives, 0 for a name that derives none.
func MaxOutput(name algs.Name) int {
	switch name {
	case algs.HKDFSHA256, algs.HKDFSHA384, algs.HKDFSHA512:
		return 255 * hashBytes(name) // RFC 5869 section 2.3
	case algs.KBKDFHMACSHA256, algs.KBKDFHMACSHA384, algs.KBKDFHMACSHA512,
		algs.PBKDF2SHA256, algs.PBKDF2SHA512, algs.Argon2id, algs.Scrypt:
		return MaxOutputBytes
	default:
		return 0
	}
}

// Approved reports whether these parameters are approved, given that the algorithm is: SP 800-131Ar2 asks for secrets and
// outputs of 112 bits, SP 800-132 section 5.1 for salts of 128 bits. FIPS mode needs both answers.
func Approved(name algs.Name, p *Params) bool {
	row, ok := algs.Of(name, algs.ClassKDF, algs.ClassPassword)
	if !ok || row.Approval != algs.Approved || p.OutputBytes < 14 {
		return false
	}
	if row.Class == algs.ClassPassword {
		return len(p.Salt) >= 16 && p.Cost.Iterations >= MinIterations
	}
	return len(p.Secret) >= 14
}

// Check returns fault.Malformed with the field at fault when Derive would refuse the parameters.
func Check(name algs.Name, p *Params) error {
	bad := check(name, p)
	if bad == nil {
		return nil
	}
	return &fault.Error{
		Kind: fault.Malformed, Op: "kdf.derive", Detail: "the key cannot be derived as asked", Fields: []fault.Field{*bad},
	}
}

// CheckCost returns what Check says about a cost alone, for outputs of so many bytes.
func CheckCost(name algs.Name, c Cost, outputBytes int) error {
	return Check(name, &Params{Secret: make([]byte, 1), Salt: make([]byte, MinSaltBytes), Cost: c, OutputBytes: outputBytes})
}

func check(name algs.Name, p *Params) *fault.Field {
	row, ok := algs.Of(name, algs.ClassKDF, algs.ClassPassword)
	if !ok || MaxOutput(name) == 0 {
		return &fault.Field{Name: "algorithm", Detail: "not a key derivation that this service has"}
	}
	var bad *fault.Field
	if row.Class == algs.ClassKDF {
		bad = checkSecret(name, p)
	} else {
		bad = checkPassword(name, p)
	}
	if bad != nil {
		return bad
	}
	return within("output_bytes", p.OutputBytes, 1, MaxOutput(name))
}

func checkSecret(name algs.Name, p *Params) *fault.Field {
	hkdf := name == algs.HKDFSHA256 || name == algs.HKDFSHA384 || name == algs.HKDFSHA512
	only := func(has bool) int {
		if has {
			return MaxInfoBytes
		}
		return 0
	}
	if bytes.IndexByte(p.Label, 0) >= 0 {
		return &fault.Field{Name: "label", Detail: "without zero bytes"}
	}
	return first(
		within("secret", len(p.Secret), MinSecretBytes, MaxSecretBytes, "bytes"),
		within("salt", len(p.Salt), 0, only(hkdf), "bytes"),
		within("info", len(p.Info), 0, only(hkdf), "bytes"),
		within("label", len(p.Label), 0, only(!hkdf), "bytes"),
		within("context", len(p.Context), 0, only(!hkdf), "bytes"),
		checkCost(name, p.Cost, 1),
	)
}

func checkPassword(name algs.Name, p *Params) *fault.Field {
	return first(
		within("password", len(p.Secret), MinPasswordBytes, MaxPasswordBytes, "bytes"),
		within("salt", len(p.Salt), MinSaltBytes, MaxSaltBytes, "bytes"),
		within("info", len(p.Info), 0, 0, "bytes"),
		within("label", len(p.Label), 0, 0, "bytes"),
		within("context", len(p.Context), 0, 0, "bytes"),
		within("output_bytes", p.OutputBytes, 1, MaxOutput(name)), // before it is multiplied
		checkCost(name, p.Cost, p.OutputBytes),
	)
}

// checkCost wants each field within its limits, and 0 where the algorithm has none.
func checkCost(name algs.Name, c Cost, outputBytes int) *fault.Field {
	pbkdf2 := name == algs.PBKDF2SHA256 || name == algs.PBKDF2SHA512
	argon2id, scrypt := name == algs.Argon2id, name == algs.Scrypt
	limit := func(field string, n, least, most int, has bool) *fault.Field {
		if !has {
			least, most = 0, 0
		}
		return within(field, n, least, most)
	}
	bad := first(
		limit("iterations", c.Iterations, MinIterations, MaxIterations, pbkdf2),
		limit("memory_kib", c.MemoryKiB, MinMemoryKiB, MaxMemoryKiB, argon2id),
		limit("time", c.Time, 1, MaxTime, argon2id),
		limit("parallelism", c.Parallelism, 1, MaxParallelism, argon2id),
		limit("n", c.N, MinN, MaxN, scrypt),
		limit("r", c.R, 1, MaxR, scrypt),
		limit("p", c.P, 1, MaxP, scrypt),
	)
	switch {
	case bad != nil:
		return bad
	case pbkdf2:
		work := maxWorkSHA256
		if name == algs.PBKDF2SHA512 {
			work = maxWorkSHA512
		}
		blocks := (outputBytes + hashBytes(name) - 1) / hashBytes(name)
		if c.Iterations*blocks > work {
			return &fault.Field{Name: "iterations", Detail: fmt.Sprintf("times the blocks of output, %d at most", work)}
		}
	case argon2id:
		if c.MemoryKiB*c.Time > maxMemoryTimesKiB {
			return &fault.Field{Name: "memory_kib", Detail: fmt.Sprintf("times time, %d at most", maxMemoryTimesKiB)}
		}
	case scrypt:
		if bits.OnesCount(uint(c.N)) != 1 {
			return &fault.Field{Name: "n", Detail: "a power of two"}
		}
		if 128*int64(c.N)*int64(c.R)*int64(c.P) > maxScryptBytes {
			return &fault.Field{Name: "n", Detail: fmt.Sprintf("times 128, r and p, %d at most", maxScryptBytes)}
		}
	}
	return nil
}

// within returns the field when n is out of its limits. A most of 0 means that the algorithm does not use the field.
func within(field string, n, least, most int, unit ...string) *fault.Field {
	switch {
	case n >= least && n <= most:
		return nil
	case most == 0:
		return &fault.Field{Name: field, Detail: "the algorithm has none"}
	case len(unit) > 0:
		return &fault.Field{Name: field, Detail: fmt.Sprintf("%d to %d %s", least, most, unit[0])}
	default:
		return &fault.Field{Name: field, Detail: fmt.Sprintf("%d to %d", least, most)}
	}
}

func first(fields ...*fault.Field) *fault.Field {
	for _, f := range fields {
		if f != nil {
			return f
		}
	}
	return nil
}
