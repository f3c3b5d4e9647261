package password

import (
	"errors"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
)

const (
	testSalt = "TmFDbE5hQ2xOYUNsTmFDbA"
	testHash = "RsYn0lH8BChJdvMsTDWp34YyIE1JOnlAVjwrHSx2fxs"
	testTail = "$" + testSalt + "$" + testHash
	oldTail  = "$" + testSalt + "==$" + testHash + "="
)

var readable = map[string]algs.Name{
	"$argon2id$v=19$m=65536,t=3,p=4" + testTail:                            algs.Argon2id,
	"$argon2id$v=19$m=8192,t=10,p=16" + testTail:                           algs.Argon2id,
	"$argon2i$v=19$m=65536,t=3,p=4" + testTail:                             Argon2i,
	"$argon2d$v=19$m=65536,t=3,p=4" + testTail:                             Argon2d,
	"$scrypt$ln=17,r=8,p=1" + testTail:                                     algs.Scrypt,
	"$scrypt$ln=20,r=2,p=1" + testTail:                                     algs.Scrypt,
	"$scrypt$n=131072,r=8,p=1" + oldTail:                                   algs.Scrypt,
	"$pbkdf2-sha256$i=600000" + testTail:                                   algs.PBKDF2SHA256,
	"$pbkdf2-sha512$i=210000" + testTail:                                   algs.PBKDF2SHA512,
	"$pbkdf2-sha256$600000" + oldTail:                                      algs.PBKDF2SHA256,
	"$pbkdf2-sha512$600000" + oldTail:                                      algs.PBKDF2SHA512,
	"$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m":         Bcrypt,
	"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW":         Bcrypt,
	"$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e":         Bcrypt,
	"$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW":         Bcrypt,
	"$pbkdf2-sha256$i=10000000" + testTail:                                 algs.PBKDF2SHA256,
	"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$TmFDbE5hQ2xOYUNsTmFDbA":    algs.Argon2id,
	"$scrypt$n=16384,r=8,p=1$U29kaXVtQ2hsb3JpZGU=$" + testHash + "=":       algs.Scrypt,
	"$pbkdf2-sha256$i=5000000$" + testSalt + "$" + strings.Repeat("A", 86): algs.PBKDF2SHA256,
}

func TestParse(t *testing.T) {
	for s, want := range readable {
		e, err := parse(s)
		if err != nil || e.algorithm != want {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if !e.legacy && e.String() != s {
			t.Errorf("%s is written as %s", s, e)
		}
	}
}

var unreadable = []string{
	"",
	"$",
	"$$$$",
	"password",
	"argon2id$v=19$m=65536,t=3,p=4" + testTail,
	" $argon2id$v=19$m=65536,t=3,p=4" + testTail,
	"$argon2id$v=19$m=65536,t=3,p=4" + testTail + " ",
	"$argon2id$v=19$m=65536,t=3,p=4" + testTail + "\n",
	"$argon2id$v=19$m=65536,t=3,p=4" + testTail + "$",
	"$ARGON2ID$v=19$m=65536,t=3,p=4" + testTail,
	"$argon2id$m=65536,t=3,p=4" + testTail, // version 1.0
	"$argon2id$v=16$m=65536,t=3,p=4" + testTail,
	"$argon2id$v=19$t=3,m=65536,p=4" + testTail,
	"$argon2id$v=19$m=65536,t=3" + testTail,
	"$argon2id$v=19$m=65536,t=3,p=4,keyid=AA" + testTail,
	"$argon2id$v=19$m=065536,t=3,p=4" + testTail,
	"$argon2id$v=19$m=+65536,t=3,p=4" + testTail,
	"$argon2id$v=19$m=-65536,t=3,p=4" + testTail,
	"$argon2id$v=19$m=65536,t=3,p=0" + testTail,
	"$argon2id$v=19$m=65536,t=3,p=17" + testTail,
	"$argon2id$v=19$m=65536,t=0,p=1" + testTail,
	"$argon2id$v=19$m=8191,t=3,p=1" + testTail,
	"$argon2id$v=19$m=1073741824,t=1,p=1" + testTail, // a terabyte
	"$argon2i$v=19$m=1073741824,t=1,p=1" + testTail,
	"$argon2d$v=19$m=1073741824,t=1,p=1" + testTail,
	"$argon2id$v=19$m=99999999999999999999,t=1,p=1" + testTail,
	"$argon2id$v=19$m=262144,t=10,p=1" + testTail, // both at once
	"$argon2id$v=19$m=65536,t=3,p=4$" + testSalt + "$",
	"$argon2id$v=19$m=65536,t=3,p=4$$" + testHash,
	"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$" + testHash, // salt of 4 bytes
	"$argon2id$v=19$m=65536,t=3,p=4$" + testSalt + "$c2FsdA",
	"$argon2id$v=19$m=65536,t=3,p=4" + oldTail,                                   // padding
	"$argon2id$v=19$m=65536,t=3,p=4$" + testSalt + "\n$" + testHash,              // what a lax decoder skips
	"$argon2id$v=19$m=65536,t=3,p=4$TmFDbE5hQ2xOYUNsTmFDbB$" + testHash,          // bits beyond the last byte
	"$argon2id$v=19$m=65536,t=3,p=4$TmFDbE5hQ2xOYUNs-mFDbA$" + testHash,          // the other alphabet
	"$argon2id$v=19$m=65536,t=3,p=4$" + testSalt + "$" + strings.Repeat("A", 88), // hash of 66 bytes
	"$scrypt$ln=9,r=8,p=1" + testTail,
	"$scrypt$ln=21,r=1,p=1" + testTail,
	"$scrypt$ln=63,r=8,p=1" + testTail,
	"$scrypt$ln=64,r=8,p=1" + testTail,
	"$scrypt$ln=999999999,r=8,p=1" + testTail,
	"$scrypt$ln=20,r=8,p=1" + testTail, // a gigabyte
	"$scrypt$ln=17,r=0,p=1" + testTail,
	"$scrypt$ln=17,r=8,p=1" + oldTail,
	"$scrypt$n=131072,r=8,p=1" + testTail,
	"$scrypt$n=131071,r=8,p=1" + oldTail,
	"$scrypt$n=1073741824,r=8,p=1" + oldTail,
	"$scrypt$131072,8,1" + oldTail,
	"$pbkdf2$i=600000" + testTail,
	"$pbkdf2-sha1$i=600000" + testTail,
	"$pbkdf2-sha256$i=999" + testTail,
	"$pbkdf2-sha256$i=10000001" + testTail,
	"$pbkdf2-sha512$i=4000001" + testTail,
	"$pbkdf2-sha256$i=10000000$" + testSalt + "$" + strings.Repeat("A", 86), // two blocks
	"$pbkdf2-sha256$i=600000,l=32" + testTail,
	"$pbkdf2-sha256$i=600000" + oldTail,
	"$pbkdf2-sha256$600000" + testTail,
	"$pbkdf2-sha256$99999999999999" + oldTail,
	"$pbkdf2-sha256$" + testTail,
	"$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", // days
	"$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
	"$2b$00$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"$2b$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", // known to be broken
	"$2$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
	"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
	"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
	"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQ$b4YMJKvyOeW",
	"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuR=yh0XouQYb4YMJKvyOeW",
	"$5$rounds=80000$wnsT7Yr92oJoP28r$cKhJImk5mfuSKV9b3mumNzlbstFUplKtQXXMo4G6Ep5",
	"$argon2id$v=19$m=65536,t=3,p=4$" + strings.Repeat("A", 1<<20) + "$" + testHash,
	strings.Repeat("$", 1<<16),
}

func TestParseRefuses(t *testing.T) {
	for _, s := range unreadable {
		_, err := Verify(t.Context(), s, []byte("password"))
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Malformed || len(e.Fields) != 1 || e.Fields[0].Name != "hash" || e.Fields[0].Detail == "" {
			t.Errorf("%.80q: %v", s, err)
		}
		if name, err := Identify(s); err == nil {
			t.Errorf("%.80q is identified as %s", s, name)
		}
		if ok && strings.Contains(err.Error(), testSalt) {
			t.Errorf("%.80q: the error shows it", s)
		}
	}
}

// FuzzParse checks that what is read is within the limits and, unless it is an old spelling, written again just so.
func FuzzParse(f *testing.F) {
	seeds := 0
	for s := range readable {
		f.Add(s)
		seeds++
	}
	for _, s := range unreadable {
		if len(s) <= 2*maxEncodedBytes {
			f.Add(s)
			seeds++
		}
	}
	if seeds < 70 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parse(s)
		if err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if len(s) > maxEncodedBytes {
			t.Fatal("too long")
		}
		if e.algorithm == Bcrypt {
			if len(s) != bcryptLength {
				t.Fatal("bcrypt of another length")
			}
			return
		}
		if len(e.salt) < minSaltBytes || len(e.salt) > maxSaltBytes || len(e.hash) < minHashBytes || len(e.hash) > maxHashBytes {
			t.Fatalf("salt of %d bytes, hash of %d", len(e.salt), len(e.hash))
		}
		if err := kdf.CheckCost(family(e.algorithm), e.cost, len(e.hash)); err != nil {
			t.Fatal(err)
		}
		written := e.String()
		if !e.legacy && written != s {
			t.Fatalf("%q is written as %q", s, written)
		}
		if again, err := parse(written); err != nil || again.String() != written {
			t.Fatalf("%q is not read again: %v", written, err)
		}
	})
}
