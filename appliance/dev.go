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
	n := &node{config: config, log: log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.lock(); err != nil {
		return err
	}
	if err := n.selfTest(); err != nil {
		return err
	}
	n.identity, err = readIdentity(config.DataDir, identityFile)
	switch {
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
	return c, c.Validate()
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
		if err := id.write(dir, unfinishedFile); err != nil {
			return err
		}
	case err != nil:
		return err
	case id.MasterKCV != "":
		return fmt.Errorf("%s belongs to a node that was finished: rename it to %s", filepath.Join(dir, unfinishedFile), identityFile)
	default:
		n.log.Warn("the first run was cut off; it starts over")
		for _, p := range []string{n.config.HSM.SoftHSMDir, n.config.HSM.PINFile, soPINFile(n.config.HSM.PINFile), n.raftDir()} {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	n.identity = id
	if err := n.openAudit(); err != nil {
		return err
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
	if err := n.syncToken(); err != nil {
		return err
	}
	id.MasterKCV = hex.EncodeToString(n.token.MasterKCV())
	if err := n.openCluster(ctx); err != nil {
		return err
	}
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

// finish removes the mark of an unfinished first run, which must not be there when the identity is lost some day.
func (n *node) finish() error {
	err := os.Remove(filepath.Join(n.config.DataDir, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(n.config.DataDir))
}

// checkEmpty refuses a directory that holds parts of a node but not its identity: they may be somebody's only keys.
func (n *node) checkEmpty() error {
	config := filepath.Join(n.config.DataDir, configFile)
	for _, p := range []string{n.config.HSM.SoftHSMDir, n.config.HSM.PINFile, n.raftDir(), n.config.auditDir(), config} {
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
	public, wrapped, err := n.token.GenerateWrapped(ctx)
	if err != nil {
		return fmt.Errorf("key of the cluster CA: %w", err)
	}
	certificate, err := newAuthority(n.identity.ClusterID, n.token.WrappedSigner(public, wrapped), time.Now())
	if err != nil {
		return fmt.Errorf("certificate of the cluster CA: %w", err)
	}
	cluster := directory.Cluster{ID: n.identity.ClusterID, MasterKCV: n.token.MasterKCV(), CACertificate: certificate, CAKey: wrapped}
	if err := n.engine.CreateCluster(ctx, call(""), cluster); err != nil {
		return err
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
