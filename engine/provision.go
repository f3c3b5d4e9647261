package engine

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// ApplianceCall returns a call of the appliance itself in a tenant, for making a cluster and for its own duties.
func (e *Engine) ApplianceCall(requestID, tenant string) *Call {
	return &Call{
		Subject:   &policy.Subject{Kind: policy.KindAppliance, ID: "appliance", Tenant: tenant},
		RequestID: requestID,
		Start:     e.now(),
	}
}

// CreateCluster records a new cluster. It is the first entry of a log.
func (e *Engine) CreateCluster(ctx context.Context, c *Call, cluster directory.Cluster) error {
	cluster.CreatedAt = e.now().UnixMilli()
	return e.create(ctx, c, policy.CreateCluster, cluster.ID, func() (command.Command, error) {
		return command.CreateCluster{Cluster: cluster}, nil
	})
}

// CreateTenant makes a tenant with a new id.
func (e *Engine) CreateTenant(ctx context.Context, c *Call, name string) (*directory.Tenant, error) {
	t := &directory.Tenant{ID: "tenant_" + randomID(), Name: name, Status: directory.Enabled, CreatedAt: e.now().UnixMilli()}
	return t, e.create(ctx, c, policy.CreateTenant, t.ID, func() (command.Command, error) {
		return command.CreateTenant{Tenant: *t}, nil
	})
}

// ContextSpec is what a new context is to be.
type ContextSpec struct {
	Name        string
	Description string
	Algorithm   algs.Name            // empty means AES-256-GCM, or a true hybrid where quantum safety is asked for
	Format      uint8                // 0 means 4
	Derivation  directory.Derivation // unknown means salted
	Enforcement directory.Enforcement
	Allowed     []algs.Name
	MinimumBits uint16
	QuantumSafe bool
}

// CreateContext makes a context of the caller's tenant, with an active first key version.
func (e *Engine) CreateContext(ctx context.Context, c *Call, spec ContextSpec) (*directory.Context, error) {
	record := &directory.Context{
		Tenant: c.tenant(), Name: spec.Name, Description: spec.Description, Algorithm: spec.Algorithm, Format: spec.Format,
		Derivation: spec.Derivation, Status: directory.Enabled, Versions: 1, CreatedAt: e.now().UnixMilli(),
		Enforcement: spec.Enforcement, Allowed: spec.Allowed, MinimumBits: spec.MinimumBits, QuantumSafe: spec.QuantumSafe,
	}
	if record.Algorithm == "" {
		record.Algorithm = e.defaultAlgorithm(spec)
	}
	if record.Format == 0 {
		record.Format = 4
	}
	if record.Derivation == directory.DerivationUnknown {
		record.Derivation = directory.Salted
	}
	return record, e.create(ctx, c, policy.CreateContext, spec.Name, func() (command.Command, error) {
		if err := e.checkContext(record); err != nil {
			return nil, err
		}
		v, err := e.newVersion(ctx, record, 1)
		if err != nil {
			return nil, err
		}
		record.ActiveKey = v.ID
		return command.CreateContext{Context: *record, Version: *v}, nil
	})
}

// defaultAlgorithm is what a context gets that names no algorithm.
func (e *Engine) defaultAlgorithm(spec ContextSpec) algs.Name {
	if spec.QuantumSafe {
		return e.fips.Choose(algs.X25519MLKEM768AES256GCM)
	}
	return algs.AES256GCM
}

// checkContext refuses a context that cannot be, whose own algorithm its policy or the FIPS mode refuses, or that lists one
// that the FIPS mode refuses.
func (e *Engine) checkContext(record *directory.Context) error {
	if err := record.Validate(); err != nil {
		return fault.New(fault.Malformed, "engine.context", err.Error())
	}
	own, _ := algs.Lookup(record.Algorithm)
	if err := e.gate(own, algs.Protect); err != nil {
		return err
	}
	if _, allowed := policy.Algorithm(record, own); !allowed {
		return disallowed("the context's own algorithm does not meet the strength that its policy asks for")
	}
	for _, name := range record.Allowed {
		row, _ := algs.Lookup(name)
		if err := e.gate(row, algs.Protect); err != nil {
			return err
		}
	}
	return nil
}

// ApplicationSpec is what a new application is to be.
type ApplicationSpec struct {
	Name        string
	Team        string
	Environment string
	Grants      []directory.Grant
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// CreateApplication makes an application of the caller's tenant with a new Ed25519 key, kept here sealed.
func (e *Engine) CreateApplication(ctx context.Context, c *Call, spec ApplicationSpec) (*directory.Application, error) {
	slug := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(spec.Name), "-"), "-")
	app := &directory.Application{
		ID: "app_" + slug[:min(len(slug), 20)] + "_" + randomID(), Tenant: c.tenant(), Name: spec.Name, Team: spec.Team,
		Environment: spec.Environment, Status: directory.Enabled, Grants: spec.Grants, KeyID: "appkey_" + randomID(),
		CreatedAt: e.now().UnixMilli(),
	}
	return app, e.create(ctx, c, policy.CreateApplication, app.ID, func() (command.Command, error) {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "engine.application", "", err)
		}
		defer clear(private)
		seed := private.Seed()
		defer clear(seed)
		app.PublicKey = public
		app.SealedKey, err = e.sealKey(ctx, app.Tenant, app.KeyID, applicationKeyVersion, applicationKeyAlgorithm, seed)
		if err != nil {
			return nil, err
		}
		return command.CreateApplication{Application: *app}, nil
	})
}

// CreateUser makes a user of the caller's tenant.
func (e *Engine) CreateUser(ctx context.Context, c *Call, name string, roles []directory.Role) (*directory.User, error) {
	u := &directory.User{
		ID: "user_" + randomID(), Tenant: c.tenant(), Name: name, Roles: roles, Status: directory.Enabled,
		CreatedAt: e.now().UnixMilli(),
	}
	return u, e.create(ctx, c, policy.CreateUser, u.ID, func() (command.Command, error) {
		return command.CreateUser{User: *u}, nil
	})
}

// StartSession records a session of a user of the caller's tenant.
func (e *Engine) StartSession(ctx context.Context, c *Call, session directory.Session) error {
	return e.create(ctx, c, policy.IssueToken, session.User, func() (command.Command, error) {
		if session.Tenant != c.Subject.Tenant {
			return nil, errNotAllowed
		}
		return command.CreateSession{Session: session}, nil
	})
}

func (e *Engine) create(ctx context.Context, c *Call, action policy.Action, resource string, build func() (command.Command, error)) error {
	r := c.begin(action)
	r.Resource = resource
	return e.change(ctx, c, &r, action, build)
}

// randomID returns 8 random bytes in hex.
func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
