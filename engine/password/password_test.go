package password

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
)

// cheap holds the least costs that are allowed.
var cheap = map[algs.Name]kdf.Cost{
	algs.PBKDF2SHA256: {Iterations: kdf.MinIterations},
	algs.PBKDF2SHA512: {Iterations: kdf.MinIterations},
	algs.Argon2id:     {MemoryKiB: kdf.MinMemoryKiB, Time: 1, Parallelism: 1},
	algs.Scrypt:       {N: kdf.MinN, R: 1, P: 1},
}

func TestHashAndVerify(t *testing.T) {
	forms := map[algs.Name]string{
		algs.PBKDF2SHA256: `^\$pbkdf2-sha256\$i=600000`,
		algs.PBKDF2SHA512: `^\$pbkdf2-sha512\$i=210000`,
		algs.Argon2id:     `^\$argon2id\$v=19\$m=65536,t=3,p=4`,
		algs.Scrypt:       `^\$scrypt\$ln=17,r=8,p=1`,
	}
	for _, row := range algs.Rows() {
		if row.Class != algs.ClassPassword {
			continue
		}
		t.Run(string(row.Name), func(t *testing.T) {
			password := []byte("pässword")
			hash, err := Hash(t.Context(), row.Name, password, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(forms[row.Name] + `\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(hash) {
				t.Errorf("the string is %s", hash)
			}
			if name, err := Identify(hash); err != nil || name != row.Name {
				t.Errorf("identified as %s, %v", name, err)
			}
			want := Result{Valid: true, Algorithm: row.Name}
			if got, err := Verify(t.Context(), hash, password); err != nil || got != want {
				t.Errorf("got %+v, %v", got, err)
			}

			cost := cheap[row.Name]
			weak, err := Hash(t.Context(), row.Name, password, &cost)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				password string
				valid    bool
			}{{"pässword", true}, {"pässworD", false}, {"pässword ", false}, {"passwörd", false}, {"p", false}} {
				want := Result{Valid: c.valid, NeedsRehash: true, Algorithm: row.Name}
				if got, err := Verify(t.Context(), weak, []byte(c.password)); err != nil || got != want {
					t.Errorf("%q: got %+v, %v", c.password, got, err)
				}
			}
			again, err := Hash(t.Context(), row.Name, password, &cost)
			if err != nil || again == weak {
				t.Errorf("two hashes of one password are equal (%v)", err)
			}
		})
	}
}

func TestHashRefuses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		alg      algs.Name
		password string
		cost     *kdf.Cost
		field    string
	}{
		{"unknown", "MD5", "p", nil, "algorithm"},
		{"no algorithm", "", "p", nil, "algorithm"},
		{"for secrets", algs.HKDFSHA256, "p", nil, "algorithm"},
		{"only read", Bcrypt, "p", nil, "algorithm"},
		{"only read too", Argon2i, "p", nil, "algorithm"},
		{"no password", algs.PBKDF2SHA256, "", nil, "password"},
		{"long password", algs.PBKDF2SHA256, strings.Repeat("p", 4097), nil, "password"},
		{"few iterations", algs.PBKDF2SHA256, "p", &kdf.Cost{Iterations: 999}, "iterations"},
		{"cost of another", algs.Scrypt, "p", &kdf.Cost{Iterations: 1000}, "iterations"},
		{"much memory", algs.Argon2id, "p", &kdf.Cost{MemoryKiB: 1 << 30, Time: 1, Parallelism: 1}, "memory_kib"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hash, err := Hash(t.Context(), tt.alg, []byte(tt.password), tt.cost)
			wantField(t, err, tt.field)
			if hash != "" {
				t.Error("a hash beside an error")
			}
		})
	}
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != field || e.Fields[0].Detail == "" {
		t.Errorf("got %v, not %s", err, field)
	}
}

func TestVerifyRefusesPasswords(t *testing.T) {
	cost := cheap[algs.PBKDF2SHA256]
	hash, err := Hash(t.Context(), algs.PBKDF2SHA256, []byte("p"), &cost)
	if err != nil {
		t.Fatal(err)
	}
	const argon2i = "$argon2i$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"
	const bcrypted = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for _, tt := range []struct{ name, hash, password string }{
		{"empty", hash, ""},
		{"long", hash, strings.Repeat("p", 4097)},
		{"empty for Argon2i", argon2i, ""},
		{"long for Argon2i", argon2i, strings.Repeat("p", 4097)},
		{"empty for bcrypt", bcrypted, ""},
		{"73 bytes for bcrypt", bcrypted, strings.Repeat("p", 73)},
		{"zero byte for bcrypt", bcrypted, "U*U\x00U*U"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Verify(t.Context(), tt.hash, []byte(tt.password))
			wantField(t, err, "password")
		})
	}
}

func TestArgon2dIsNamedAndRefused(t *testing.T) {
	const hash = "$argon2d$v=19$m=65536,t=3,p=4$h3lAlfj8aqw60JA4q7Xccg$M9GrNU4YK8b4sty8LrMRrP916UzV/SRmOe/b7sYnCNc"
	if name, err := Identify(hash); name != Argon2d || err != nil {
		t.Errorf("identified as %s, %v", name, err)
	}
	_, err := Verify(t.Context(), hash, []byte("correct horse battery staple"))
	wantField(t, err, "hash")
	if e, ok := errors.AsType[*fault.Error](err); !ok || !strings.Contains(e.Fields[0].Detail, "Argon2d") {
		t.Errorf("it does not say why: %v", err)
	}
}

// TestReadOnlyNamesAreNotApproved: no mode that asks for approved algorithms may find these in the table.
func TestReadOnlyNamesAreNotApproved(t *testing.T) {
	for _, name := range []algs.Name{Argon2i, Argon2d, Bcrypt} {
		if row, ok := algs.Lookup(name); ok || algs.Enabled.Allows(row, algs.Process) {
			t.Errorf("%s is in the table", name)
		}
	}
}

func TestNeedsRehash(t *testing.T) {
	const salt, hash = "TmFDbE5hQ2xOYUNsTmFDbA", "RsYn0lH8BChJdvMsTDWp34YyIE1JOnlAVjwrHSx2fxs"
	for _, tt := range []struct {
		encoded string
		want    bool
	}{
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + hash, false},
		{"$argon2id$v=19$m=131072,t=3,p=4$" + salt + "$" + hash, false},
		{"$argon2id$v=19$m=65535,t=3,p=4$" + salt + "$" + hash, true},
		{"$argon2id$v=19$m=65536,t=2,p=4$" + salt + "$" + hash, true},
		{"$argon2id$v=19$m=65536,t=3,p=3$" + salt + "$" + hash, true},
		{"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$" + hash, true},                 // salt of 8 bytes
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$TmFDbE5hQ2xOYUNsTmFDbA", true}, // hash of 16 bytes
		{"$argon2i$v=19$m=65536,t=3,p=4$" + salt + "$" + hash, true},
		{"$argon2d$v=19$m=65536,t=3,p=4$" + salt + "$" + hash, true},
		{"$scrypt$ln=17,r=8,p=1$" + salt + "$" + hash, false},
		{"$scrypt$ln=18,r=8,p=1$" + salt + "$" + hash, false},
		{"$scrypt$ln=16,r=8,p=1$" + salt + "$" + hash, true},
		{"$scrypt$ln=17,r=7,p=1$" + salt + "$" + hash, true},
		{"$scrypt$n=131072,r=8,p=1$" + salt + "==$" + hash + "=", true},
		{"$pbkdf2-sha256$i=600000$" + salt + "$" + hash, false},
		{"$pbkdf2-sha256$i=599999$" + salt + "$" + hash, true},
		{"$pbkdf2-sha256$600000$" + salt + "==$" + hash + "=", true},
		{"$pbkdf2-sha512$i=210000$" + salt + "$" + hash, false},
		{"$pbkdf2-sha512$i=209999$" + salt + "$" + hash, true},
		{"$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", true},
	} {
		e, err := parse(tt.encoded)
		if err != nil {
			t.Errorf("%s: %v", tt.encoded, err)
			continue
		}
		if got := e.needsRehash(); got != tt.want {
			t.Errorf("%s: %v", tt.encoded, got)
		}
	}
}

func TestVerifyWaitsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, hash := range []string{
		"$argon2id$v=19$m=65536,t=3,p=4$Jk7CO1qKJKixM6pru8TPVg$+hefRl9MxOcRB/9g/yH1LjXJv5xuisBpmakyXUuMzzM",
		"$argon2i$v=19$m=65536,t=3,p=4$95xwCpEwP70niTW6fyRVtw$8GQ6p8/KFaAMFK4IhCf+dQXTnoHCfVxEZlJEa/kXP6s",
		"$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
	} {
		if _, err := Verify(ctx, hash, []byte("password")); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%.9s in an ended context: %v", hash, err)
		}
	}
}
