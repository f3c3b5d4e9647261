package appliance

import (
	"context"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/api/signin"
	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/audit"
	"cryptoserve/hsm"
)

// What the parts ask of each other, checked where they are joined.
var (
	_ engine.Vault      = (*hsm.Token)(nil)
	_ engine.Ledger     = ledger{}
	_ engine.Fleet      = (*cluster.Node)(nil)
	_ engine.View       = view{}
	_ engine.TenantView = (*cluster.TenantView)(nil)
	_ engine.AuditLog   = (*audit.Log)(nil)
	_ api.Engine        = (*engine.Engine)(nil)
	_ api.Authenticator = (*auth.Verifier)(nil)
	_ api.TokenIssuer   = (*auth.Issuer)(nil)
	_ api.SignIn        = (*signin.SignIn)(nil)
	_ auth.Authority    = (*engine.Engine)(nil)
	_ auth.Directory    = (*engine.Engine)(nil)
)

// ledger shows a cluster node as the engine's Ledger: the same calls, with its concrete views as interfaces.
type ledger struct{ node *cluster.Node }

func (l ledger) Propose(ctx context.Context, c command.Command) (command.Outcome, error) {
	return l.node.Propose(ctx, c)
}
func (l ledger) View() engine.View { return view{l.node.View()} }
func (l ledger) Epoch() uint64     { return l.node.Epoch() }
func (l ledger) Leads() bool       { return l.node.Leads() }
func (l ledger) Compact(ctx context.Context) error {
	return l.node.Compact(ctx)
}
func (l ledger) Lease() int64                      { return l.node.Lease() }
func (l ledger) Expired(lease int64) bool          { return l.node.Expired(lease) }
func (l ledger) Barrier(ctx context.Context) error { return l.node.Barrier(ctx) }

type view struct{ *cluster.View }

func (v view) Tenant(id string) engine.TenantView { return v.View.Tenant(id) }
