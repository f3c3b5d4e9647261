package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func init() { cannedOf = append(cannedOf, cannedLifecycle) }

const (
	cannedVersion = `{"key_id":"key_user-pii_2","version":2,"context":"user-pii","state":"active","active":true,"algorithm":"AES-256-GCM",` +
		`"imported":false,"created_at":"2026-01-02T00:00:00Z","protected":7,"processed":3,"last_protected_at":"2026-01-05T00:00:00Z",` +
		`"last_processed_at":"2026-01-04T00:00:00Z","shreddable":true}`
	cannedOld = `"key_id":"key_user-pii_1","version":1,"context":"user-pii","state":"deactivated","active":false,"algorithm":"AES-256-GCM",` +
		`"imported":false,"created_at":"2026-01-01T00:00:00Z","deactivated_at":"2026-01-02T00:00:00Z","destroy_at":"2026-02-01T00:00:00Z",` +
		`"reason":"too \u001b[31mold","protected":5,"processed":0,"shreddable":false`
)

var cannedLifecycle = map[string]string{
	"GET /api/v1/contexts/user-pii/versions":                  `{"versions":[` + cannedVersion + `,{` + cannedOld + `}]}`,
	"GET /api/v1/keys/signer/versions":                        `{"versions":[` + cannedVersion + `]}`,
	"GET /api/v1/key-usage":                                   `{"versions":[{` + cannedOld + `}]}`,
	"POST /api/v1/key-versions/key_user-pii_2/suspend":        cannedVersion,
	"POST /api/v1/key-versions/key_user-pii_2/resume":         cannedVersion,
	"POST /api/v1/key-versions/key_user-pii_2/deactivate":     cannedVersion,
	"POST /api/v1/key-versions/key_user-pii_2/compromise":     cannedVersion,
	"POST /api/v1/key-versions/key_user-pii_2/cancel-destroy": cannedVersion,
	"POST /api/v1/key-versions/key_user-pii_1/destroy":        `{` + cannedOld + `,"warnings":["it can be made again"]}`,
	"POST /api/v1/key-versions/key_user-pii_3/destroy": `{"id":"approval_1","act":"key.destroy","resource":"key_user-pii_3","state":"pending",` +
		`"required":2,"decisions":[{"user":"u","at":"2026-01-01T00:00:00Z","approve":true,"reason":""}],"requester":"user_1",` +
		`"reason":"old","created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-08T00:00:00Z"}`,
	"PUT /api/v1/contexts/user-pii/minimum-version": `{"version":2}`,
	"PUT /api/v1/keys/signer/minimum-version":       `{"version":3}`,
	"PUT /api/v1/keys/signer/rotation":              `{"days":90}`,
}

// TestAskYes takes yes and nothing else.
func TestAskYes(t *testing.T) {
	for typed, want := range map[string]error{
		"yes\n": nil, " yes \r\n": nil, "y\n": errNotConfirmed, "YES\n": errNotConfirmed, "": errNotConfirmed, "no\nyes\n": errNotConfirmed,
	} {
		var screen bytes.Buffer
		a := &app{stdin: strings.NewReader(typed), stderr: &screen}
		if err := a.askYes(t.Context(), "Really?"); !errors.Is(err, want) || !strings.HasPrefix(screen.String(), "Really?") {
			t.Errorf("%q: %v, shown %q", typed, err, screen.String())
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupt signal received")
	stdin := blocked{make(chan struct{}), make(chan struct{})}
	defer close(stdin.end)
	go func() {
		<-stdin.reading
		cancel(stop)
	}()
	a := &app{stdin: stdin, stderr: &bytes.Buffer{}}
	if err := a.askYes(ctx, "Really?"); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
}
