package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// DevConfig says how to run the embedded default.
type DevConfig struct {
	Dir    string // holds everything; made when missing
	Listen string
	Audit  string // durability: strict or relaxed; empty means as the config file says, strict in a new one
	// Cluster is the address of the cluster port, host:port; empty is a cluster of one, or as the config file says. Name is what
	// people call the node.
	Cluster string
	Name    string
	// Join is an invitation code: the first start joins that cluster instead of making one.
	Join string
	// AdoptToken has the first start make its cluster with the keys of the token in Dir, which is there already, instead of a token
	// with new keys. Neither the token nor its PIN files are ever written or removed.
	AdoptToken bool
}

// configFile is the config that a first run writes into its directory. From then on it is the user's.
const configFile = "config.yaml"

// devContexts returns the contexts of a new dev cluster: all defaults. What the first steps of a developer use encrypts with
// AES-256-GCM, also streams, whatever its layers resolve to: user-pii would be a hybrid, which streams cannot use, and general
// AES-128-GCM.
func devContexts() []engine.ContextSpec {
	list := engine.DefaultContexts()
	for i := range list {
		switch c := &list[i]; c.Name {
		case "default", "general":
			c.Algorithm, c.Enforcement = algs.AES256GCM, directory.EnforceNone
		case "user-pii", "payment-data":
			c.Algorithm = algs.AES256GCM
		}
	}
	return list
}

// The application and the user that a new dev cluster has.
const (
	devTenant      = "default"
	devApplication = "demo"
	devUser        = "owner"
	devSession     = 7 * 24 * time.Hour // specification section 14.2
	devSegment     = 16 << 20
)

// Dev runs one node with a SoftHSM2 token in a directory of its own. The first start provisions it and writes config.yaml;
// later ones read that. Every start writes ca.pem, app.token, app.refresh and owner.token anew, then the line
// "ready https://ADDR".
func Dev(ctx context.Context, d DevConfig, out io.Writer, log *slog.Logger) (err error) {
	tuneGC()
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	config, err := d.config()
	if err != nil {
		return err
	}
	if d.AdoptToken && d.Join != "" {
		return errors.New("a node that joins gets the keys of its cluster: give an invitation or adopt a token, not both")
	}
	n := &node{config: config, log: log, adopt: d.AdoptToken}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.lock(); err != nil {
		return err
	}
	if err := n.selfTest(); err != nil {
		return err
	}
	n.identity, err = readIdentity(config.DataDir, identityFile)
	switch {
	case errors.Is(err, errUnprovisioned) && d.Join != "":
		if err = n.join(ctx, directory.JoinWrap, d.Join, out); err == nil {
			err = n.reopen(ctx)
		}
	case errors.Is(err, errUnprovisioned):
		err = n.firstRun(ctx)
	case err == nil:
		if err = n.finish(); err != nil {
			break
		}
		if n.config, err = d.load(config); err == nil {
			err = n.open(ctx)
		}
	}
	if err != nil {
		return err
	}
	return n.serve(ctx, func(addr net.Addr) error {
		if err := n.handOver(ctx); err != nil {
			return err
		}
		return announce(out, addr)
	})
}

// load reads the config file of a directory that has been provisioned. The address, and the durability if one was given,
// are of this run only: the file stays as it is. Where somebody removed it, a new one is written.
func (d DevConfig) load(fresh Config) (Config, error) {
	path := filepath.Join(fresh.DataDir, configFile)
	c, err := Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, fresh.write(path)
	}
	if err != nil {
		return c, err
	}
	here, err := os.Stat(fresh.DataDir)
	if err != nil {
		return c, err
	}
	if there, err := os.Stat(c.DataDir); err != nil || !os.SameFile(here, there) {
		return c, fmt.Errorf("%s is for another directory, data_dir: %s: correct the paths in it, or remove it and get a new one", path, c.DataDir)
	}
	c.Listen = d.Listen
	if d.Audit != "" {
		c.Audit.Durability = d.Audit
	}
	if d.Cluster != "" {
		c.Cluster.Listen = d.Cluster
	}
	return c, c.Validate()
}

// reopen opens the node that was just joined: its parts were opened for joining only.
func (n *node) reopen(ctx context.Context) error {
	err := n.Close()
	if err != nil {
		return err
	}
	if err := n.lock(); err != nil {
		return err
	}
	if n.identity, err = readIdentity(n.config.DataDir, identityFile); err != nil {
		return err
	}
	return n.open(ctx)
}

// config returns what a first run writes into the config file.
func (d DevConfig) config() (Config, error) {
	c := Default()
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return c, err
	}
	c.DataDir = dir
	c.Listen = d.Listen
	c.HSM.SoftHSMDir = filepath.Join(dir, "token")
	c.HSM.PINFile = filepath.Join(dir, "token.pin")
	c.HSM.SOPINFile = soPINFile(c.HSM.PINFile)
	c.Cluster.Listen, c.Cluster.Name = d.Cluster, d.Name
	c.Backup = devBackups(dir)
	c.Audit.SegmentBytes = devSegment
	c.Keys.DestroyMinimum = new(time.Duration) // none
	if d.Audit != "" {
		c.Audit.Durability = d.Audit
	}
	return c, c.Validate()
}

// firstRun makes token, keys, cluster, contexts, application and owner. Until the last step the directory holds
// node.json.unfinished in place of node.json: a first run that was cut off has protected nothing yet, so the next one
// starts over.
func (n *node) firstRun(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	dir := n.config.DataDir
	id, err := readIdentity(dir, unfinishedFile)
	switch {
	case errors.Is(err, errUnprovisioned):
		if err := n.checkEmpty(); err != nil {
			return err
		}
		id = newIdentity()
		id.TokenAdopted = n.adopt
		if err := id.write(dir, unfinishedFile); err != nil {
			return err
		}
	case err != nil:
		return err
	case id.MasterKCV != "":
		return fmt.Errorf("%s belongs to a node that was finished: rename it to %s", filepath.Join(dir, unfinishedFile), identityFile)
	case n.adopt && !id.TokenAdopted:
		return fmt.Errorf("%s is of a first run that made a token of its own: adopt the token in an empty directory",
			filepath.Join(dir, unfinishedFile))
	default:
		n.log.Warn("the first run was cut off; it starts over")
		if err := n.clearUnfinished(id); err != nil {
			return err
		}
	}
	n.identity = id
	if err := n.openAudit(); err != nil {
		return err
	}
	if err := n.firstToken(ctx); err != nil {
		return err
	}
	id.MasterKCV = hex.EncodeToString(n.token.MasterKCV())
	if err := n.makeAuthority(ctx); err != nil {
		return err
	}
	if err := n.openNetwork(); err != nil {
		return err
	}
	if err := n.openCluster(ctx); err != nil {
		return err
	}
	n.awaitLease(ctx)
	if err := n.openEngine(); err != nil {
		return err
	}
	if err := n.populate(ctx); err != nil {
		return err
	}
	if err := n.openCertificates(); err != nil {
		return err
	}
	if err := n.config.write(filepath.Join(dir, configFile)); err != nil {
		return err
	}
	if err := id.write(dir, identityFile); err != nil {
		return err
	}
	return n.finish()
}

// clearUnfinished removes what a first run that was cut off had made. A token that it adopted was there before.
func (n *node) clearUnfinished(id *identity) error {
	made := []string{n.raftDir()}
	if !id.TokenAdopted {
		made = append(made, n.config.HSM.SoftHSMDir, n.config.HSM.PINFile, soPINFile(n.config.HSM.PINFile))
	}
	for _, p := range made {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// firstToken opens the token of a first run with its keys: new ones, or those of the token that it adopts.
func (n *node) firstToken(ctx context.Context) error {
	if n.identity.TokenAdopted {
		if err := n.openToken(ctx); err != nil {
			return err
		}
		if err := n.token.Load(ctx); err != nil {
			return fmt.Errorf("the token cannot be adopted as it is; nothing in it was changed: %w", err)
		}
		return nil
	}
	if err := n.makeToken(); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := n.openToken(ctx); err != nil {
		return err
	}
	if err := n.token.Provision(ctx); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return n.syncToken()
}

// finish removes the mark of an unfinished first run, which must not be there when the identity is lost some day.
func (n *node) finish() error {
	err := os.Remove(filepath.Join(n.config.DataDir, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(n.config.DataDir))
}

// checkEmpty refuses a directory that holds parts of a node but not its identity: they may be somebody's only keys. A token that is to
// be adopted must be there, with its PIN file.
func (n *node) checkEmpty() error {
	token := []string{n.config.HSM.SoftHSMDir, n.config.HSM.PINFile}
	parts := []string{n.raftDir(), n.config.auditDir(), filepath.Join(n.config.DataDir, configFile)}
	if !n.adopt {
		parts = append(token, parts...)
		token = nil
	}
	for _, p := range token {
		there, err := exists(p)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("there is no token to adopt: %s is missing. Put the folder of the token and the file with its PIN there", p)
		}
	}
	for _, p := range parts {
		there, err := exists(p)
		if err != nil {
			return err
		}
		if there {
			return fmt.Errorf("%s is there but %s is not: put %s back from a backup, or choose an empty directory",
				p, filepath.Join(n.config.DataDir, identityFile), identityFile)
		}
	}
	return nil
}

// makeToken makes a SoftHSM2 token with random PINs, kept in files beside it.
func (n *node) makeToken() error {
	c := n.config.HSM
	store, err := softhsm.Create(c.SoftHSMDir)
	if err != nil {
		return err
	}
	if err := store.Use(); err != nil {
		return err
	}
	pin, soPIN := newPIN(), newPIN()
	defer pin.Destroy()
	defer soPIN.Destroy()
	if err := writeFile(c.PINFile, pin.Reveal()); err != nil {
		return err
	}
	if err := writeFile(soPINFile(c.PINFile), soPIN.Reveal()); err != nil {
		return err
	}
	module, _, err := c.module()
	if err != nil {
		return err
	}
	return hsm.InitToken(module, c.TokenLabel, soPIN, pin)
}

// syncToken makes the new token durable, before anything says that it is there.
func (n *node) syncToken() error {
	store, err := softhsm.Open(n.config.HSM.SoftHSMDir)
	if err != nil {
		return err
	}
	return errors.Join(store.Sync(), syncDir(n.config.DataDir))
}

func soPINFile(pinFile string) string {
	return filepath.Join(filepath.Dir(pinFile), "token.so-pin")
}

func newPIN() secret.Bytes {
	var b [16]byte
	rand.Read(b[:])
	return secret.New([]byte(hex.EncodeToString(b[:])))
}

// populate makes the cluster and what a dev cluster has in it.
func (n *node) populate(ctx context.Context) error {
	call := func(tenant string) *engine.Call { return n.engine.ApplianceCall("first-run", tenant) }
	credential, err := n.makeForceNew()
	if err != nil {
		return err
	}
	cluster := directory.Cluster{
		ID: n.identity.ClusterID, MasterKCV: n.token.MasterKCV(), CACertificate: n.identity.CACertificate, CAKey: n.identity.CAKey,
		CommandVersion: command.Newest(), Credential: credential,
	}
	if err := n.engine.CreateCluster(ctx, call(""), cluster); err != nil {
		return err
	}
	if n.network != nil {
		if err := n.engine.AnnounceMember(ctx, call(""), n.self()); err != nil {
			return err
		}
	}
	tenant, err := n.engine.CreateTenant(ctx, call(""), devTenant)
	if err != nil {
		return err
	}
	var grants []directory.Grant
	for _, spec := range devContexts() {
		if _, err := n.engine.CreateContext(ctx, call(tenant.ID), spec); err != nil {
			return err
		}
		grants = append(grants, directory.Grant{Context: spec.Name, Encrypt: true, Decrypt: true})
	}
	app := engine.ApplicationSpec{Name: devApplication, Team: "default", Environment: "development", Grants: grants}
	if _, err := n.engine.CreateApplication(ctx, call(tenant.ID), app); err != nil {
		return err
	}
	_, err = n.engine.CreateUser(ctx, call(tenant.ID), devUser, []directory.Role{directory.Owner, directory.Operator, directory.Auditor})
	return err
}

// makeAuthority makes the cluster CA.
func (n *node) makeAuthority(ctx context.Context) error {
	public, wrapped, err := n.token.GenerateWrapped(ctx)
	if err != nil {
		return fmt.Errorf("key of the cluster CA: %w", err)
	}
	certificate, err := newAuthority(n.identity.ClusterID, n.token.WrappedSigner(public, wrapped), time.Now())
	if err != nil {
		return fmt.Errorf("certificate of the cluster CA: %w", err)
	}
	n.identity.CACertificate, n.identity.CAKey = certificate, wrapped
	return n.useAuthority(certificate, wrapped)
}

// handOver writes the files that a developer works with: the CA, tokens of the application, a session of the owner.
func (n *node) handOver(ctx context.Context) error {
	view := n.cluster.View()
	tenants := view.Tenants()
	i := slices.IndexFunc(tenants, func(t *directory.Tenant) bool { return t.Name == devTenant })
	if i < 0 {
		return errors.New("there is no tenant named " + devTenant)
	}
	tenant := view.Tenant(tenants[i].ID)
	a := slices.IndexFunc(tenant.Applications(), func(a *directory.Application) bool { return a.Name == devApplication })
	u := slices.IndexFunc(tenant.Users(), func(u *directory.User) bool { return u.Name == devUser })
	if a < 0 || u < 0 {
		return errors.New("the application " + devApplication + " or the user " + devUser + " is gone")
	}
	app, owner := tenant.Applications()[a], tenant.Users()[u]
	call := n.engine.ApplianceCall("dev-start", tenants[i].ID)

	access, _, err := n.issuer.IssueAccess(ctx, app)
	if err != nil {
		return fmt.Errorf("access token: %w", err)
	}
	refresh, _, err := n.issuer.StartRefresh(ctx, call, app)
	if err != nil {
		return fmt.Errorf("refresh token: %w", err)
	}
	session, hash := auth.NewSessionToken()
	now := time.Now()
	err = n.engine.StartSession(ctx, call, directory.Session{
		Hash: hash, User: owner.ID, Tenant: owner.Tenant, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(devSession).UnixMilli(),
	})
	if err != nil {
		return fmt.Errorf("session of the owner: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"ca.pem", n.certs.caPEM()}, {"app.token", []byte(access)}, {"app.refresh", []byte(refresh)}, {"owner.token", []byte(session)},
	} {
		if err := writeFile(filepath.Join(n.config.DataDir, f.name), append(bytes.TrimSpace(f.data), '\n')); err != nil {
			return err
		}
	}
	return nil
}
