package auth

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzVerify looks for any text that is taken for a token without being one that the Issuer made.
func FuzzVerify(f *testing.F) {
	x := newFixture(f)
	good := x.accessToken(f, shop)
	head, body, signature := segments(good)
	seeds := []string{
		good, x.refreshToken(f, shop), x.accessToken(f, blog), head + "." + body + ".", head + ".." + signature, "..", "",
		strings.ToUpper(good), good + "=", SessionPrefix + signature,
		forge(f, `{"alg":"none","typ":"JWT"}`, goodClaims(f, nil), jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		forge(f, goodHeader, `{"sub":"`+shop+`","sub":"x"}`, jwt.SigningMethodEdDSA, x.keys[blog]),
	}
	for _, s := range seeds {
		f.Add(s)
	}
	issued := map[string]bool{good: true, seeds[2]: true}
	f.Fuzz(func(t *testing.T, token string) {
		s, err := x.verifier.Authenticate("Bearer " + token)
		if (err == nil) != issued[token] {
			t.Fatalf("%q gave %v, %v", token, s, err)
		}
		if err != nil {
			wantRefused(t, err, nil)
		}
	})
}
