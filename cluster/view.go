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

// TenantNamed returns a tenant by its name.
func (v *View) TenantNamed(name string) *directory.Tenant {
	return first[directory.Tenant](v.txn, tableTenants, indexName, name)
}

// ApplicationByCertificate returns the application that authenticates with a client certificate, by the SHA-256 of its
// SubjectPublicKeyInfo.
func (v *View) ApplicationByCertificate(hash [32]byte) *directory.Application {
	return first[directory.Application](v.txn, tableApplications, indexCertificate, string(hash[:]))
}

// Invitation returns the invitation whose code has this SHA-256.
func (v *View) Invitation(hash [32]byte) *directory.Invitation {
	return first[directory.Invitation](v.txn, tableInvitations, indexCode, string(hash[:]))
}

// Device returns the sign-in whose device code has this SHA-256.
func (v *View) Device(hash [32]byte) *directory.Device {
	return first[directory.Device](v.txn, tableDevices, indexID, string(hash[:]))
}

// DeviceByUserCode returns the sign-in that waits under a user code.
func (v *View) DeviceByUserCode(code string) *directory.Device {
	return first[directory.Device](v.txn, tableDevices, indexCode, code)
}

// Tenants returns every tenant in order of id.
func (v *View) Tenants() []*directory.Tenant {
	return all[directory.Tenant](v.txn, tableTenants, indexID)
}

// Tenant returns the part of the view that belongs to one tenant. It is never nil: that of an unknown tenant finds
// nothing.
func (v *View) Tenant(id string) *TenantView {
	if !validKey(id) {
		id = "" // no tenant's: an id with the byte that ends a key part would be the beginning of another's keys
	}
	return &TenantView{view: v, id: id}
}

// Members returns the nodes of the cluster, removed ones too, in order of id.
func (v *View) Members() []*directory.Member {
	return all[directory.Member](v.txn, tableMembers, indexID)
}

// Member returns a node of the cluster by its id.
func (v *View) Member(id string) *directory.Member {
	return first[directory.Member](v.txn, tableMembers, indexID, id)
}

// JoinInvitations returns the invitations to join, in order of id.
func (v *View) JoinInvitations() []*directory.JoinInvitation {
	return all[directory.JoinInvitation](v.txn, tableJoinCodes, indexID)
}

// JoinInvitation returns the invitation whose code's secret has this SHA-256.
func (v *View) JoinInvitation(hash [32]byte) *directory.JoinInvitation {
	return first[directory.JoinInvitation](v.txn, tableJoinCodes, indexCode, string(hash[:]))
}

// Joins returns the requests to join, in order of id.
func (v *View) Joins() []*directory.Join {
	return all[directory.Join](v.txn, tableJoins, indexID)
}

// Join returns a request to join.
func (v *View) Join(id string) *directory.Join {
	return first[directory.Join](v.txn, tableJoins, indexID, id)
}

// BackupRuns returns the newest backups and rehearsals, in order of id.
func (v *View) BackupRuns() []*directory.BackupRun {
	return all[directory.BackupRun](v.txn, tableBackupRuns, indexID)
}

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
