package hsm

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"cryptoserve/engine/fault"
)

func TestProvisionThenLoad(t *testing.T) {
	r := newRig(t).open(t)
	if ok, err := r.Provisioned(t.Context()); ok || err != nil {
		t.Fatalf("an empty token: %v, %v", ok, err)
	}
	if err := r.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Provisioned(t.Context()); !ok || err != nil {
		t.Fatalf("a full token: %v, %v", ok, err)
	}
	kcv, want := r.MasterKCV(), r.mustExpand(t)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	r.open(t)
	if r.MasterKCV() != nil || r.NodeSigner().Public() != nil {
		t.Error("keys are there before Load")
	}
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(kcv) != kcvBytes || !bytes.Equal(kcv, r.MasterKCV()) {
		t.Errorf("key check value %x after the restart, %x before", r.MasterKCV(), kcv)
	}
	if !bytes.Equal(r.mustExpand(t), want) {
		t.Error("the same info gives another key after a restart")
	}
}

func TestOpenIsOncePerProcess(t *testing.T) {
	r := newRig(t).open(t)
	if _, err := Open(t.Context(), r.cfg); !errors.Is(err, fault.Conflict) {
		t.Errorf("second Open: %v", err)
	}
	if err := InitToken(r.cfg.Module, "other", pin(testSOPIN), pin(testPIN)); !errors.Is(err, fault.Conflict) {
		t.Errorf("InitToken beside an open Token: %v", err)
	}
	if _, err := Probe(t.Context(), r.cfg); !errors.Is(err, fault.Conflict) {
		t.Errorf("Probe beside an open Token: %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.open(t)
}

func TestInitTokenNeverTouchesAToken(t *testing.T) {
	r := newToken(t)
	kcv := r.MasterKCV()
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := InitToken(r.cfg.Module, testLabel, pin(testSOPIN), pin("another-pin"))
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), testLabel) {
		t.Errorf("a second token with the label: %v", err)
	}
	if err := InitToken(r.cfg.Module, "other", pin(testSOPIN), pin(testPIN)); err != nil {
		t.Errorf("a token beside the first: %v", err)
	}
	r.open(t)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kcv, r.MasterKCV()) {
		t.Error("the first token changed")
	}
}

func TestInitTokenRefusesBadInput(t *testing.T) {
	r := newRig(t)
	cases := []struct {
		name, label, soPIN, pin string
	}{
		{"no label", "", testSOPIN, testPIN},
		{"label too long", strings.Repeat("x", 33), testSOPIN, testPIN},
		{"label ends in a space", "x ", testSOPIN, testPIN},
		{"SO PIN too short", "x", "1", testPIN},
		{"PIN too short", "x", testSOPIN, "1"},
		{"PIN too long", "x", testSOPIN, strings.Repeat("1", 256)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := InitToken(r.cfg.Module, c.label, pin(c.soPIN), pin(c.pin)); !errors.Is(err, fault.Malformed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	r := newRig(t)
	cases := []struct {
		name string
		edit func(*Config)
		want error
		says string
	}{
		{"no module", func(c *Config) { c.Module = "" }, fault.Malformed, "module"},
		{"no such module", func(c *Config) { c.Module = "/nonexistent/libp11.so" }, fault.HSMUnavailable, "/nonexistent/libp11.so"},
		{"not a module", func(c *Config) { c.Module = "/etc/passwd" }, fault.HSMUnavailable, "/etc/passwd"},
		{"no label", func(c *Config) { c.TokenLabel = "" }, fault.Malformed, "label"},
		{"no such token", func(c *Config) { c.TokenLabel = "elsewhere" }, ErrNoToken, "elsewhere"},
		{"too many sessions", func(c *Config) { c.Sessions = 5000 }, fault.Malformed, "sessions"},
		{"negative wait", func(c *Config) { c.Wait = -1 }, fault.Malformed, "negative"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := r.cfg
			c.edit(&cfg)
			_, err := Open(t.Context(), cfg)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
		})
	}
	r.open(t) // nothing above kept the module
}

func TestOpenRefusesTwoTokensWithOneLabel(t *testing.T) {
	r := newRig(t)
	if err := InitToken(r.cfg.Module, "twin", pin(testSOPIN), pin(testPIN)); err != nil {
		t.Fatal(err)
	}
	relabel(t, r, "twin")
	if _, err := Open(t.Context(), r.cfg); !errors.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	if n := r.faults.Calls("C_Login"); n != 0 {
		t.Errorf("%d logins were tried", n)
	}
}

func TestClosedTokenRefuses(t *testing.T) {
	r := newToken(t)
	pub, blob, err := r.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrapped, node := r.WrappedSigner(pub, blob), r.NodeSigner()
	for range 2 { // the second Close has nothing to do
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range operations(r, node, wrapped) {
		if err := f(t.Context()); !errors.Is(err, ErrClosed) || !errors.Is(err, fault.HSMUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Run(t.Context()); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestEndedContextIsSeenBeforeTheToken(t *testing.T) {
	r := newToken(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := r.faults.Calls("C_SignInit")
	if _, err := r.Expand(ctx, nil, 32); !errors.Is(err, context.Canceled) || !errors.Is(err, fault.Unavailable) {
		t.Errorf("Expand: %v", err)
	}
	if _, err := Open(ctx, r.cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	if r.faults.Calls("C_SignInit") != before {
		t.Error("the token was called")
	}
	if _, down := r.DownSince(); down {
		t.Error("an ended request marks the token down")
	}
}

func TestOperationsBeforeLoad(t *testing.T) {
	r := newRig(t).open(t)
	needsNone := map[string]bool{"Random": true, "Reader": true, "Provisioned": true}
	for name, f := range operations(r, r.NodeSigner(), nil) {
		err := f(t.Context())
		if needsNone[name] && err != nil {
			t.Errorf("%s needs no keys: %v", name, err)
		}
		if !needsNone[name] && (!errors.Is(err, ErrNotProvisioned) || !errors.Is(err, fault.Unavailable)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, down := r.DownSince(); down {
		t.Error("a token without keys counts as down")
	}
}
