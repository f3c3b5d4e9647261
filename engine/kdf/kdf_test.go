package kdf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func names() []algs.Name {
	var all []algs.Name
	for _, r := range algs.Rows() {
		if r.Class == algs.ClassKDF || r.Class == algs.ClassPassword {
			all = append(all, r.Name)
		}
	}
	return all
}

// cheap returns parameters with the least cost that is allowed.
func cheap(name algs.Name) *Params {
	p := &Params{Secret: bytes.Repeat([]byte("s"), MinSecretBytes), OutputBytes: 32}
	switch row, _ := algs.Lookup(name); {
	case name == algs.Argon2id:
		p.Cost = Cost{MemoryKiB: MinMemoryKiB, Time: 1, Parallelism: 1}
	case name == algs.Scrypt:
		p.Cost = Cost{N: MinN, R: 1, P: 1}
	case row.Class == algs.ClassPassword:
		p.Cost = Cost{Iterations: MinIterations}
	default:
		return p
	}
	p.Salt = bytes.Repeat([]byte("a"), 16)
	return p
}

// TestEveryRow derives with every algorithm of the table, in the lengths at the ends of the limits, and sees that each part
// of the input counts.
func TestEveryRow(t *testing.T) {
	for _, name := range names() {
		t.Run(string(name), func(t *testing.T) {
			p := cheap(name)
			first, err := Derive(t.Context(), name, p)
			if err != nil || len(first) != 32 || bytes.Equal(first, make([]byte, 32)) {
				t.Fatalf("%d bytes, %v", len(first), err)
			}
			again, err := Derive(t.Context(), name, p)
			if err != nil || !bytes.Equal(first, again) {
				t.Errorf("the second time differs (%v)", err)
			}
			parts := 0
			for what, change := range map[string]func(p *Params){
				"secret":  func(p *Params) { p.Secret = bytes.Repeat([]byte("S"), MinSecretBytes) },
				"salt":    func(p *Params) { p.Salt = bytes.Repeat([]byte("A"), 16) },
				"info":    func(p *Params) { p.Info = []byte("info") },
				"label":   func(p *Params) { p.Label = []byte("label") },
				"context": func(p *Params) { p.Context = []byte("context") },
				"cost": func(p *Params) {
					c := &p.Cost
					c.Iterations, c.MemoryKiB, c.N = c.Iterations*2, c.MemoryKiB*2, c.N*2
				},
			} {
				q := *p
				change(&q)
				if Check(name, &q) != nil || (what == "cost" && q.Cost == p.Cost) {
					continue // the algorithm has none
				}
				parts++
				other, err := Derive(t.Context(), name, &q)
				if err != nil || bytes.Equal(first, other) {
					t.Errorf("another %s gives the same key (%v)", what, err)
				}
			}
			// Secret, salt and info; secret, label and context; password, salt and cost.
			if parts != 3 {
				t.Errorf("%d parts of the input were changed", parts)
			}
			for _, n := range []int{1, 31, 33, 65, MaxOutputBytes, MaxOutput(name)} {
				q := *p
				q.OutputBytes = n
				if key, err := Derive(t.Context(), name, &q); err != nil || len(key) != n {
					t.Errorf("%d bytes instead of %d, %v", len(key), n, err)
				}
			}
			if row, _ := algs.Lookup(name); row.Class == algs.ClassPassword {
				if err := CheckCost(name, DefaultCost(name), 32); err != nil {
					t.Errorf("the default is refused: %v", err)
				}
			} else if DefaultCost(name) != (Cost{}) {
				t.Error("a default cost")
			}
		})
	}
}

func TestRefused(t *testing.T) {
	type change func(p *Params)
	of := func(c Cost) change { return func(p *Params) { p.Cost = c } }
	tests := []struct {
		name   string
		alg    algs.Name
		change change
		field  string
	}{
		{"unknown", "PBKDF2-SHA1", func(*Params) {}, "algorithm"},
		{"a hash", algs.SHA256, func(*Params) {}, "algorithm"},
		{"no output", algs.HKDFSHA256, func(p *Params) { p.OutputBytes = 0 }, "output_bytes"},
		{"negative output", algs.Argon2id, func(p *Params) { p.OutputBytes = -1 }, "output_bytes"},
		{"HKDF too long", algs.HKDFSHA256, func(p *Params) { p.OutputBytes = 255*32 + 1 }, "output_bytes"},
		{"HKDF-384 too long", algs.HKDFSHA384, func(p *Params) { p.OutputBytes = 255*48 + 1 }, "output_bytes"},
		{"KBKDF too long", algs.KBKDFHMACSHA256, func(p *Params) { p.OutputBytes = MaxOutputBytes + 1 }, "output_bytes"},
		{"PBKDF2 too long", algs.PBKDF2SHA256, func(p *Params) { p.OutputBytes = 1 << 60 }, "output_bytes"},
		{"scrypt too long", algs.Scrypt, func(p *Params) { p.OutputBytes = MaxOutputBytes + 1 }, "output_bytes"},
		{"short secret", algs.HKDFSHA512, func(p *Params) { p.Secret = p.Secret[:15] }, "secret"},
		{"long secret", algs.KBKDFHMACSHA512, func(p *Params) { p.Secret = make([]byte, MaxSecretBytes+1) }, "secret"},
		{"long HKDF salt", algs.HKDFSHA256, func(p *Params) { p.Salt = make([]byte, MaxSaltBytes+1) }, "salt"},
		{"long info", algs.HKDFSHA256, func(p *Params) { p.Info = make([]byte, MaxInfoBytes+1) }, "info"},
		{"HKDF with label", algs.HKDFSHA256, func(p *Params) { p.Label = []byte("x") }, "label"},
		{"HKDF with context", algs.HKDFSHA256, func(p *Params) { p.Context = []byte("x") }, "context"},
		{"HKDF with iterations", algs.HKDFSHA256, of(Cost{Iterations: 1}), "iterations"},
		{"KBKDF with salt", algs.KBKDFHMACSHA256, func(p *Params) { p.Salt = []byte("x") }, "salt"},
		{"KBKDF with info", algs.KBKDFHMACSHA256, func(p *Params) { p.Info = []byte("x") }, "info"},
		{"KBKDF with memory", algs.KBKDFHMACSHA384, of(Cost{MemoryKiB: MinMemoryKiB}), "memory_kib"},
		{"ambiguous label", algs.KBKDFHMACSHA256, func(p *Params) { p.Label = []byte("a\x00b") }, "label"},
		{"long label", algs.KBKDFHMACSHA256, func(p *Params) { p.Label = bytes.Repeat([]byte("l"), MaxInfoBytes+1) }, "label"},
		{"long context", algs.KBKDFHMACSHA256, func(p *Params) { p.Context = make([]byte, MaxInfoBytes+1) }, "context"},
		{"no password", algs.Argon2id, func(p *Params) { p.Secret = nil }, "password"},
		{"long password", algs.Scrypt, func(p *Params) { p.Secret = make([]byte, MaxPasswordBytes+1) }, "password"},
		{"short salt", algs.PBKDF2SHA512, func(p *Params) { p.Salt = p.Salt[:7] }, "salt"},
		{"long salt", algs.Argon2id, func(p *Params) { p.Salt = make([]byte, MaxSaltBytes+1) }, "salt"},
		{"password with info", algs.Argon2id, func(p *Params) { p.Info = []byte("x") }, "info"},
		{"password with label", algs.Scrypt, func(p *Params) { p.Label = []byte("x") }, "label"},
		{"password with context", algs.PBKDF2SHA256, func(p *Params) { p.Context = []byte("x") }, "context"},

		{"no iterations", algs.PBKDF2SHA256, of(Cost{}), "iterations"},
		{"few iterations", algs.PBKDF2SHA256, of(Cost{Iterations: MinIterations - 1}), "iterations"},
		{"many iterations", algs.PBKDF2SHA256, of(Cost{Iterations: MaxIterations + 1}), "iterations"},
		{"hours", algs.PBKDF2SHA256, func(p *Params) { p.Cost.Iterations, p.OutputBytes = MaxIterations, 33 }, "iterations"},
		{"many iterations of SHA-512", algs.PBKDF2SHA512, of(Cost{Iterations: maxWorkSHA512 + 1}), "iterations"},
		{"PBKDF2 with time", algs.PBKDF2SHA256, of(Cost{Iterations: MinIterations, Time: 1}), "time"},

		{"no memory", algs.Argon2id, of(Cost{Time: 1, Parallelism: 1}), "memory_kib"},
		{"a terabyte", algs.Argon2id, of(Cost{MemoryKiB: 1 << 30, Time: 1, Parallelism: 1}), "memory_kib"},
		{"no time", algs.Argon2id, of(Cost{MemoryKiB: MinMemoryKiB, Parallelism: 1}), "time"},
		{"much time", algs.Argon2id, of(Cost{MemoryKiB: MinMemoryKiB, Time: MaxTime + 1, Parallelism: 1}), "time"},
		{"no lanes", algs.Argon2id, of(Cost{MemoryKiB: MinMemoryKiB, Time: 1}), "parallelism"},
		{"many lanes", algs.Argon2id, of(Cost{MemoryKiB: MinMemoryKiB, Time: 1, Parallelism: 17}), "parallelism"},
		{"much of both", algs.Argon2id, of(Cost{MemoryKiB: MaxMemoryKiB, Time: 5, Parallelism: 1}), "memory_kib"},
		{"Argon2id with N", algs.Argon2id, of(Cost{MemoryKiB: MinMemoryKiB, Time: 1, Parallelism: 1, N: MinN}), "n"},

		{"no N", algs.Scrypt, of(Cost{R: 8, P: 1}), "n"},
		{"not a power", algs.Scrypt, of(Cost{N: MinN + 1, R: 8, P: 1}), "n"},
		{"large N", algs.Scrypt, of(Cost{N: 2 * MaxN, R: 1, P: 1}), "n"},
		{"no r", algs.Scrypt, of(Cost{N: MinN, P: 1}), "r"},
		{"large r", algs.Scrypt, of(Cost{N: MinN, R: MaxR + 1, P: 1}), "r"},
		{"no p", algs.Scrypt, of(Cost{N: MinN, R: 1}), "p"},
		{"large p", algs.Scrypt, of(Cost{N: MinN, R: 1, P: MaxP + 1}), "p"},
		{"a gigabyte", algs.Scrypt, of(Cost{N: MaxN, R: 8, P: 1}), "n"},
		{"long work", algs.Scrypt, of(Cost{N: 1 << 17, R: 8, P: 3}), "n"},
		{"scrypt with iterations", algs.Scrypt, of(Cost{N: MinN, R: 1, P: 1, Iterations: 1}), "iterations"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := cheap(tt.alg)
			tt.change(p)
			_, err := Derive(t.Context(), tt.alg, p)
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != tt.field {
				t.Errorf("got %v", err)
			}
			if ok && e.Fields[0].Detail == "" {
				t.Error("no reason")
			}
		})
	}
}

// TestGreatestAreAccepted: the ends of the limits belong to them. Nothing is computed.
func TestGreatestAreAccepted(t *testing.T) {
	for name, costs := range map[algs.Name][]Cost{
		algs.PBKDF2SHA256: {{Iterations: MinIterations}, {Iterations: MaxIterations}},
		algs.PBKDF2SHA512: {{Iterations: MinIterations}, {Iterations: maxWorkSHA512}},
		algs.Argon2id: {
			{MemoryKiB: MinMemoryKiB, Time: MaxTime, Parallelism: MaxParallelism}, {MemoryKiB: MaxMemoryKiB, Time: 4, Parallelism: 1},
		},
		algs.Scrypt: {{N: MaxN, R: 2, P: 1}, {N: 1 << 18, R: 8, P: 1}, {N: MinN, R: MaxR, P: MaxP}, {N: 1 << 17, R: 8, P: 2}},
	} {
		for _, c := range costs {
			if err := CheckCost(name, c, 32); err != nil {
				t.Errorf("%s: %+v: %v", name, c, err)
			}
			if m := memoryBytes(name, c); m > DefaultMemoryBytes {
				t.Errorf("%s: %+v never fits into the budget", name, c)
			}
		}
	}
}

func TestApproved(t *testing.T) {
	salted := func(n int) *Params {
		return &Params{Secret: []byte("password"), Salt: make([]byte, n), Cost: Cost{Iterations: MinIterations}, OutputBytes: 32}
	}
	for _, tt := range []struct {
		name algs.Name
		p    *Params
		want bool
	}{
		{algs.HKDFSHA256, cheap(algs.HKDFSHA256), true},
		{algs.KBKDFHMACSHA512, cheap(algs.KBKDFHMACSHA512), true},
		{algs.KBKDFHMACSHA256, &Params{Secret: make([]byte, 16), OutputBytes: 13}, false},
		{algs.HKDFSHA256, &Params{Secret: make([]byte, 13), OutputBytes: 32}, false},
		{algs.PBKDF2SHA256, salted(16), true},
		{algs.PBKDF2SHA256, salted(15), false},
		{algs.Argon2id, cheap(algs.Argon2id), false},
		{algs.Scrypt, cheap(algs.Scrypt), false},
		{algs.SHA256, salted(16), false},
	} {
		if got := Approved(tt.name, tt.p); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestFixedInput writes KBKDF's bytes out by hand.
func TestFixedInput(t *testing.T) {
	want := append([]byte("label\x00context"), 0, 0, 1, 0)
	if got := fixedInput([]byte("label"), []byte("context"), 32); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
	p := cheap(algs.KBKDFHMACSHA256)
	p.Label, p.Context, p.OutputBytes = []byte("label"), []byte("context"), 100
	got, err := Derive(t.Context(), algs.KBKDFHMACSHA256, p)
	if err != nil {
		t.Fatal(err)
	}
	fixed := binary.BigEndian.AppendUint32([]byte("label\x00context"), 800)
	if !bytes.Equal(got, kbkdf(hashOf(algs.KBKDFHMACSHA256), p.Secret, fixed, 100)) {
		t.Error("the fixed input is another")
	}
}

func TestDeriveWaitsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Derive(ctx, algs.PBKDF2SHA256, cheap(algs.PBKDF2SHA256)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a password in an ended context: %v", err)
	}
	if _, err := Derive(ctx, algs.HKDFSHA256, cheap(algs.HKDFSHA256)); err != nil {
		t.Errorf("HKDF waits for nothing: %v", err)
	}
}
