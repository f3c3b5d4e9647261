package auth

import (
	"strings"
	"testing"
	"time"

	"cryptoserve/engine/policy"
)

func TestSession(t *testing.T) {
	f := newFixture(t)
	token, hash := NewSessionToken()
	owner := &policy.Subject{Kind: policy.KindUser, ID: "user-1", Session: hash, Expires: start.Add(time.Hour)}
	f.sessions[hash] = owner

	if s, err := f.verifier.Authenticate("Bearer " + token); err != nil || s != owner {
		t.Fatalf("the session gave %v, %v", s, err)
	}
	text := strings.TrimPrefix(token, SessionPrefix)
	other, _ := NewSessionToken()
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"another session": {other, errNoSession},
		"prefix alone":    {SessionPrefix, errMalformed},
		"one digit less":  {token[:len(token)-1], errMalformed},
		"one digit more":  {token + "A", errMalformed},
		"padding":         {token + "=", errMalformed},
		"line break":      {token[:len(token)-1] + "\n", errMalformed},
		"prefix twice":    {SessionPrefix + token, errMalformed},
		"no prefix":       {text, errMalformed},
		"unused bits set": {token[:len(token)-1] + string(nextInAlphabet(token[len(token)-1])), errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.verifier.Authenticate("Bearer " + c.token)
			wantRefused(t, err, c.want)
		})
	}
	t.Run("expired", func(t *testing.T) {
		f.clock.at = start.Add(time.Hour)
		_, err := f.verifier.Authenticate("Bearer " + token)
		wantRefused(t, err, errExpired)
	})
	t.Run("ended", func(t *testing.T) {
		f.clock.at = start
		delete(f.sessions, hash)
		_, err := f.verifier.Authenticate("Bearer " + token)
		wantRefused(t, err, errNoSession)
	})
}

// TestCodes: what stands for a session, an invitation and a sign-in of a program is never taken for one of the others.
func TestCodes(t *testing.T) {
	kinds := []struct {
		prefix string
		make   func() (string, [32]byte)
		hash   func(string) ([32]byte, bool)
	}{
		{SessionPrefix, NewSessionToken, HashSession}, {InvitePrefix, NewInviteCode, HashInvite}, {DevicePrefix, NewDeviceCode, HashDevice},
	}
	for i, kind := range kinds {
		code, hash := kind.make()
		if again, _ := kind.make(); again == code || !strings.HasPrefix(code, kind.prefix) || len(code) != len(kind.prefix)+43 {
			t.Errorf("%s: a code of %d bytes, new: %v", kind.prefix, len(code), again != code)
		}
		for j, other := range kinds {
			if got, ok := other.hash(code); ok != (i == j) || ok && got != hash {
				t.Errorf("a code with %s is one with %s: %v", kind.prefix, other.prefix, ok)
			}
		}
		for _, bad := range []string{"", kind.prefix, code[:len(code)-1], code + "A", code[:len(code)-1] + "\n"} {
			if _, ok := kind.hash(bad); ok {
				t.Errorf("%d bytes are a code with %s", len(bad), kind.prefix)
			}
		}
	}
}
