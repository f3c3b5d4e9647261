package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

var (
	wireOld = wire.Version{
		KeyID: keyID, Version: 1, Context: "user-pii", Key: "invoices", State: "deactivated", Algorithm: "Ed25519", Imported: true,
		CreatedAt: newYearText("00"), DeactivatedAt: newYearText("01"), DestroyAt: newYearText("02"), Reason: "too old", Protected: 3,
		Processed: 4, LastProtectedAt: newYearText("03"), LastProcessedAt: newYearText("04"), Shreddable: true,
	}
	wireNew = wire.Version{
		KeyID: secondKeyID, Version: 2, Context: "user-pii", State: "active", Active: true, Algorithm: "AES-256-GCM",
		CreatedAt: newYearText("00"),
	}
)

// lifecycleCases are the use cases of lifecycle.go, and what they can fail with.
func lifecycleCases(*fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	const versions = "/api/v1/key-versions/" + keyID
	three := 3
	why := wire.VersionChangeRequest{Reason: "why"}
	cases = map[string]useCase{
		"contextVersions": {"GET", "/api/v1/contexts/user-pii/versions", nil, "user-pii", 200, "", wire.VersionsResponse{
			Versions: []wire.Version{wireNew, wireOld},
		}},
		"keyVersions": {"GET", "/api/v1/keys/invoices/versions", nil, "invoices", 200, "", wire.VersionsResponse{
			Versions: []wire.Version{wireOld},
		}},
		"keyUsage": {"GET", "/api/v1/key-usage?context=user-pii", nil, "usage of user-pii", 200, "", wire.VersionsResponse{
			Versions: []wire.Version{wireOld},
		}},
		"suspendVersion":    {"POST", versions + "/suspend", why, []any{"suspend", keyID, "why"}, 200, "", wireNew},
		"resumeVersion":     {"POST", versions + "/resume", why, []any{"resume", keyID, "why"}, 200, "", wireNew},
		"deactivateVersion": {"POST", versions + "/deactivate", why, []any{"deactivate", keyID, "why"}, 200, "", wireOld},
		"compromiseVersion": {
			"POST", versions + "/compromise", wire.CompromiseRequest{Reason: "why"}, []any{"compromise", keyID, "why"}, 200, "", wireOld,
		},
		"destroyVersion": {
			"POST", versions + "/destroy", wire.DestroyRequest{Reason: "why", WaitDays: &three}, []any{"destroy", keyID, "why", 3}, 200, "",
			wire.DestroyResponse{Version: wireOld, Warnings: warned},
		},
		"cancelDestruction": {"POST", versions + "/cancel-destroy", why, []any{"cancel", keyID, "why"}, 200, "", wireNew},
		"setContextMinimum": {
			"PUT", "/api/v1/contexts/user-pii/minimum-version", wire.MinimumVersion{Version: 3}, []any{"context minimum", "user-pii", uint32(3)},
			200, "", wire.MinimumVersion{Version: 3},
		},
		"setKeyMinimum": {
			"PUT", "/api/v1/keys/invoices/minimum-version", wire.MinimumVersion{Version: 3}, []any{"key minimum", "invoices", uint32(3)},
			200, "", wire.MinimumVersion{Version: 3},
		},
		"setKeyRotation": {
			"PUT", "/api/v1/keys/invoices/rotation", wire.KeyRotation{Days: 30}, []any{"rotation", "invoices", 30}, 200, "",
			wire.KeyRotation{Days: 30},
		},
	}
	fail = map[string]map[int]fault.Kind{}
	for id, c := range cases {
		fail[id] = changingOne
		if c.method == http.MethodGet {
			fail[id] = finding
		}
	}
	return cases, fail
}

// askedFor makes the request one that the stand-in answers with a request for approval.
func askedFor(r *http.Request) {
	const body = `{"reason":"ask"}`
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// TestDestroyThatNeedsApproval answers 202 and the request for approval, and tells an absent waiting period from one of 0.
func TestDestroyThatNeedsApproval(t *testing.T) {
	f := newFixture(t)
	const path = "/api/v1/key-versions/" + keyID + "/destroy"
	a := f.do(t, "POST", path, `{"reason":"ask"}`)
	const want = `{"id":"approval_0123456789abcdef","act":"key.destroy","resource":"` + keyID + `","details":["what it would do cannot be read on this node"],"state":"pending","required":2,` +
		`"decisions":[{"user":"user_2","at":"2026-01-01T00:00:00Z","approve":true,"reason":"yes"}],"requester":"user_1","reason":"ask",` +
		`"created_at":"2026-01-01T00:00:00Z","expires_at":"2100-01-01T00:00:00Z"}`
	if a.StatusCode != http.StatusAccepted || string(a.body) != want {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	for body, want := range map[string]int{`{"reason":"r"}`: -1, `{"reason":"r","wait_days":0}`: 0} {
		f.do(t, "POST", path, body)
		if got, ok := f.engine.got.([]any); !ok || got[3] != want {
			t.Errorf("%s: the engine was asked for %v", body, f.engine.got)
		}
	}
}

// TestQueryOfTheKeyUsage takes one context or none.
func TestQueryOfTheKeyUsage(t *testing.T) {
	f := newFixture(t)
	if a := f.do(t, "GET", "/api/v1/key-usage", ""); a.StatusCode != 200 || f.engine.got != "usage of " {
		t.Errorf("%s, asked for %v", a.Status, f.engine.got)
	}
	for _, query := range []string{"context=", "context=a&context=b", "context=a&b=c", "b=c", "%zz", "context"} {
		before := f.engine.reached()
		a := f.do(t, "GET", "/api/v1/key-usage", "", func(r *http.Request) { r.URL.RawQuery = query })
		if a.StatusCode != http.StatusBadRequest || f.engine.reached() != before {
			t.Errorf("%s: %s", query, a.Status)
		}
	}
}

// TestVersionChangesNeedNoBody, nor a reason.
func TestVersionChangesNeedNoBody(t *testing.T) {
	f := newFixture(t)
	for path, name := range map[string]string{"suspend": "suspend", "resume": "resume", "deactivate": "deactivate", "cancel-destroy": "cancel"} {
		for _, body := range []string{"", "{}"} {
			a := f.do(t, "POST", "/api/v1/key-versions/"+keyID+"/"+path, body)
			if got, ok := f.engine.got.([]any); a.StatusCode != 200 || !ok || got[0] != name || got[2] != "" {
				t.Errorf("%s: %s, asked for %v", path, a.Status, f.engine.got)
			}
		}
	}
}
