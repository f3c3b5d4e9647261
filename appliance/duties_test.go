package appliance

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// TestDutiesOfANode: with each tick the use of keys is told and what is due is destroyed, at once in development; what was used
// after the last one is told when the node closes.
func TestDutiesOfANode(t *testing.T) {
	n := firstRunNode(t)
	tenants := n.cluster.View().Tenants()
	tenant := n.cluster.View().Tenant(tenants[0].ID)
	old := tenant.Context("user-pii").ActiveKey
	app := tenant.Applications()[0]
	encrypt := func() {
		t.Helper()
		s := &policy.Subject{Kind: policy.KindApplication, ID: app.ID, Tenant: app.Tenant, Credential: app.KeyID}
		if _, err := n.engine.Encrypt(t.Context(), &engine.Call{Subject: s}, &engine.EncryptRequest{Context: "user-pii"}); err != nil {
			t.Fatal(err)
		}
	}
	encrypt()
	if _, err := n.engine.RotateContext(t.Context(), n.engine.ApplianceCall("test", app.Tenant), "user-pii"); err != nil {
		t.Fatal(err)
	}
	owner := tenant.Users()[0]
	session := directory.Session{
		Hash: [32]byte{1}, User: owner.ID, Tenant: owner.Tenant, CreatedAt: time.Now().UnixMilli(), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}
	if err := n.engine.StartSession(t.Context(), n.engine.ApplianceCall("test", owner.Tenant), session); err != nil {
		t.Fatal(err)
	}
	now := 0
	call := &engine.Call{Subject: n.engine.SessionSubject(session.Hash)}
	if _, err := n.engine.DestroyVersion(t.Context(), call, old, "test", &now); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	tick := make(chan time.Time)
	var loop sync.WaitGroup
	loop.Go(func() { n.duties(ctx, tick) })
	tick <- time.Now()
	tick <- time.Now() // taken when the first round is over
	stop()
	loop.Wait()
	after := n.cluster.View().Tenant(app.Tenant)
	if v := after.Version(old); v.State != keys.Destroyed {
		t.Errorf("the version is %s", v.State)
	}
	if u := after.Usage(old); u == nil || u.Protected != 1 {
		t.Errorf("told %+v", u)
	}
	encrypt()
	last := n.closers[len(n.closers)-1] // the engine's
	n.closers = n.closers[:len(n.closers)-1]
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	after = n.cluster.View().Tenant(app.Tenant)
	if u := after.Usage(after.Context("user-pii").ActiveKey); u == nil || u.Protected != 1 {
		t.Errorf("told at the end %+v", u)
	}
}

// TestLeastWaitOfDestructions is seven days, and none only in development.
func TestLeastWaitOfDestructions(t *testing.T) {
	none, hour, week := time.Duration(0), time.Hour, 14*24*time.Hour
	for name, c := range map[string]struct {
		configured *time.Duration
		soft       string
		want       time.Duration // as the engine has it; 0 is refused
	}{
		"absent":            {nil, "", 7 * 24 * time.Hour},
		"longer":            {&week, "", week},
		"an hour":           {&hour, "", 0},
		"none":              {&none, "", 0},
		"development":       {&none, "/t", -1},
		"development, hour": {&hour, "/t", hour},
	} {
		config := Default()
		config.Keys.DestroyMinimum, config.HSM.SoftHSMDir, config.HSM.PINFile = c.configured, c.soft, "/pin"
		err := config.Validate()
		if refused := err != nil && strings.Contains(err.Error(), "keys.destroy_minimum"); refused != (c.want == 0) {
			t.Errorf("%s: %v", name, err)
		}
		if got := leastWait(config.Keys.destroyMinimum()); c.want != 0 && got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
