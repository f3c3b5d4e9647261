package cluster

import (
	"crypto/sha256"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// View is the state after one entry of the log. It never changes, goroutines may share it, and the records that it
// returns must not be changed. A missing record is nil.
type View struct {
	txn     *memdb.Txn // a read transaction, which memdb lets any number of goroutines read
	applied uint64     // index of the last entry that this state contains
}

func newView(db *memdb.MemDB, applied uint64) *View {
	return &View{txn: db.Txn(false), applied: applied}
}

// Applied returns the index of the last log entry that the view contains.
func (v *View) Applied() uint64 { return v.applied }

// Cluster returns the record about the cluster, nil before there is one.
func (v *View) Cluster() *directory.Cluster {
	return first[directory.Cluster](v.txn, tableCluster, indexID, "")
}

// Application returns an application of any tenant.
func (v *View) Application(id string) *directory.Application {
	return first[directory.Application](v.txn, tableApplications, indexID, id)
}

// RefreshFamily returns a family of refresh tokens of any tenant.
func (v *View) RefreshFamily(id string) *directory.RefreshFamily {
	return first[directory.RefreshFamily](v.txn, tableRefresh, indexID, id)
}

// Session returns the session whose token has this SHA-256.
func (v *View) Session(hash [32]byte) *directory.Session {
	return first[directory.Session](v.txn, tableSessions, indexID, string(hash[:]))
}

// LegacyMasters returns how many master keys of imported deployments there are, of all tenants. They are numbered from 1.
func (v *View) LegacyMasters() int {
	return len(all[keys.LegacyMaster](v.txn, tableMasters, indexID))
}

// Tenants returns every tenant in order of id.
func (v *View) Tenants() []*directory.Tenant {
	return all[directory.Tenant](v.txn, tableTenants, indexID)
}

// Tenant returns the part of the view that belongs to one tenant. It is never nil: that of an unknown tenant finds
// nothing.
func (v *View) Tenant(id string) *TenantView { return &TenantView{view: v, id: id} }

// Digest returns the SHA-256 over all records, in deterministic order and encoding: two nodes with equal state at one
// index have equal digests. It walks the whole state.
func (v *View) Digest() [32]byte {
	h := sha256.New()
	err := encodeItems(v.txn, func(encoded []byte) error {
		h.Write(encoded)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("cluster: digest of the state: %v", err)) // all records came out of a decoder: they encode
	}
	return [32]byte(h.Sum(nil))
}

// TenantView is one tenant's part of a View: it finds nothing that belongs to another.
type TenantView struct {
	view *View
	id   string
}

// Record returns the tenant itself.
func (t *TenantView) Record() *directory.Tenant {
	return first[directory.Tenant](t.view.txn, tableTenants, indexID, t.id)
}

// Context returns a context by its name.
func (t *TenantView) Context(name string) *directory.Context {
	return first[directory.Context](t.view.txn, tableContexts, indexID, t.id, name)
}

// Contexts returns the tenant's contexts in order of name.
func (t *TenantView) Contexts() []*directory.Context {
	return all[directory.Context](t.view.txn, tableContexts, indexID+"_prefix", t.id)
}

// Version returns a key version by its id. A version of another tenant is not found.
func (t *TenantView) Version(keyID string) *keys.Version {
	v := first[keys.Version](t.view.txn, tableVersions, indexID, keyID)
	if v == nil || v.Tenant != t.id {
		return nil
	}
	return v
}

// User returns a user by id. A user of another tenant is not found.
func (t *TenantView) User(id string) *directory.User {
	u := first[directory.User](t.view.txn, tableUsers, indexID, id)
	if u == nil || u.Tenant != t.id {
		return nil
	}
	return u
}

// Users returns the tenant's users in order of name.
func (t *TenantView) Users() []*directory.User {
	return all[directory.User](t.view.txn, tableUsers, indexName+"_prefix", t.id)
}

// Applications returns the tenant's applications in order of id.
func (t *TenantView) Applications() []*directory.Application {
	return all[directory.Application](t.view.txn, tableApplications, indexTenant, t.id)
}

// Object returns a key object by its name.
func (t *TenantView) Object(name string) *keys.Object {
	return first[keys.Object](t.view.txn, tableObjects, indexID, t.id, name)
}

// Objects returns the tenant's key objects in order of name.
func (t *TenantView) Objects() []*keys.Object {
	return all[keys.Object](t.view.txn, tableObjects, indexID+"_prefix", t.id)
}

// ObjectVersions returns the versions of a key object, in no order.
func (t *TenantView) ObjectVersions(name string) []*keys.Version {
	return all[keys.Version](t.view.txn, tableVersions, indexObject, t.id, name)
}

// Import returns a pair that waits for a wrapped key.
func (t *TenantView) Import(id string) *keys.Import {
	return first[keys.Import](t.view.txn, tableImports, indexID, t.id, id)
}

// LegacyKey returns a key version of an imported deployment.
func (t *TenantView) LegacyKey(keyID string) *keys.LegacyKey {
	return first[keys.LegacyKey](t.view.txn, tableLegacy, indexID, t.id, keyID)
}

// LegacyMasters returns the master keys of the tenant's imported deployments.
func (t *TenantView) LegacyMasters() []*keys.LegacyMaster {
	return all[keys.LegacyMaster](t.view.txn, tableMasters, indexTenant, t.id)
}

// LegacyMaster returns a master key of an imported deployment by its number. One of another tenant is not found.
func (t *TenantView) LegacyMaster(number uint32) *keys.LegacyMaster {
	m := first[keys.LegacyMaster](t.view.txn, tableMasters, indexID, masterKey(number))
	if m == nil || m.Tenant != t.id {
		return nil
	}
	return m
}
