package cluster

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// The tables of the state.
const (
	tableCluster      = "cluster"
	tableTenants      = "tenants"
	tableContexts     = "contexts"
	tableVersions     = "versions"
	tableApplications = "applications"
	tableUsers        = "users"
	tableSessions     = "sessions"
	tableRefresh      = "refresh"
	tableObjects      = "objects"
	tableImports      = "imports"
	tableMasters      = "masters"
	tableLegacy       = "legacy"
	tableInvitations  = "invitations"
	tableDevices      = "devices"
	tablePolicies     = "policies"
	tableUsage        = "usage"
	tableApprovals    = "approvals"
	tableMembers      = "members"
	tableJoinCodes    = "joincodes"
	tableJoins        = "joins"
	tableBackupRuns   = "backupruns"
	tableAnswered     = "answered"
)

// The indexes. Each table has indexID; memdb demands that name for the primary one.
const (
	indexID      = "id"
	indexName    = "name"
	indexTenant  = "tenant"
	indexContext = "context"
	indexObject  = "object"
	indexOwner   = "owner" // of a session its user, of a family of refresh tokens its application, of an application its maker
	// indexCertificate finds an application by its client certificate, indexIdentity a user by his name at an identity
	// provider, indexCode what a code is for.
	indexCertificate = "certificate"
	indexIdentity    = "identity"
	indexCode        = "code"
	indexPlace       = "place" // of an entry in the log
)

// table describes one kind of record: where it is kept, how it is found and how it travels in a snapshot.
type table struct {
	name    string
	number  uint8 // names the table in snapshots: never change or reuse one
	indexes map[string]*memdb.IndexSchema
	decode  func(data []byte) (any, error) // the record, as a pointer
	id      func(record any) []string      // the parts of its primary key
}

// tables is every table, in the order in which snapshots and digests walk them.
var tables = []table{
	newTable(1, tableCluster, func(*directory.Cluster) []string { return []string{""} }, nil),
	newTable(2, tableTenants, func(r *directory.Tenant) []string { return []string{r.ID} }, keysOf[directory.Tenant]{
		indexName: {unique: true, of: func(r *directory.Tenant) []string { return []string{r.Name} }},
	}),
	newTable(3, tableContexts, func(r *directory.Context) []string { return []string{r.Tenant, r.Name} }, nil),
	newTable(4, tableVersions, func(r *keys.Version) []string { return []string{r.ID} }, keysOf[keys.Version]{
		indexContext: {of: func(r *keys.Version) []string { return []string{r.Tenant, r.Context} }},
		indexObject:  {of: func(r *keys.Version) []string { return []string{r.Tenant, r.Object} }},
	}),
	newTable(5, tableApplications, func(r *directory.Application) []string { return []string{r.ID} },
		keysOf[directory.Application]{
			indexTenant: {of: func(r *directory.Application) []string { return []string{r.Tenant} }},
			indexOwner: {optional: true, unique: true, of: func(r *directory.Application) []string {
				return []string{r.CreatedBy, r.Tenant, r.Name, r.Environment}
			}},
			indexCertificate: {optional: true, unique: true, of: func(r *directory.Application) []string {
				return []string{string(r.Certificate)}
			}},
		}),
	newTable(6, tableUsers, func(r *directory.User) []string { return []string{r.ID} }, keysOf[directory.User]{
		indexName: {unique: true, of: func(r *directory.User) []string { return []string{r.Tenant, r.Name} }},
		indexIdentity: {optional: true, unique: true, of: func(r *directory.User) []string {
			return []string{r.Issuer, r.Tenant, r.Subject}
		}},
	}),
	newTable(7, tableSessions, func(r *directory.Session) []string { return []string{string(r.Hash[:])} },
		keysOf[directory.Session]{
			indexOwner: {of: func(r *directory.Session) []string { return []string{r.User} }},
		}),
	newTable(8, tableRefresh, func(r *directory.RefreshFamily) []string { return []string{r.ID} },
		keysOf[directory.RefreshFamily]{
			indexOwner: {of: func(r *directory.RefreshFamily) []string { return []string{r.Application} }},
		}),
	newTable(9, tableObjects, func(r *keys.Object) []string { return []string{r.Tenant, r.Name} }, nil),
	newTable(10, tableImports, func(r *keys.Import) []string { return []string{r.Tenant, r.ID} }, nil),
	newTable(11, tableMasters, func(r *keys.LegacyMaster) []string { return []string{masterKey(r.Number)} },
		keysOf[keys.LegacyMaster]{
			indexTenant: {of: func(r *keys.LegacyMaster) []string { return []string{r.Tenant} }},
		}),
	newTable(12, tableLegacy, func(r *keys.LegacyKey) []string { return []string{r.Tenant, r.KeyID} }, nil),
	newTable(13, tableInvitations, func(r *directory.Invitation) []string { return []string{r.Tenant, r.ID} },
		keysOf[directory.Invitation]{
			indexCode: {unique: true, of: func(r *directory.Invitation) []string { return []string{string(r.Hash[:])} }},
		}),
	newTable(14, tableDevices, func(r *directory.Device) []string { return []string{string(r.Hash[:])} },
		keysOf[directory.Device]{
			indexCode: {unique: true, of: func(r *directory.Device) []string { return []string{r.UserCode} }},
		}),
	newTable(15, tablePolicies, func(r *directory.Policy) []string { return []string{r.Tenant, r.Name} }, nil),
	newTable(16, tableUsage, func(r *keys.Usage) []string { return []string{r.Key} }, nil),
	newTable(17, tableApprovals, func(r *directory.Approval) []string { return []string{r.Tenant, r.ID} }, nil),
	newTable(18, tableMembers, func(r *directory.Member) []string { return []string{r.ID} }, nil),
	newTable(19, tableJoinCodes, func(r *directory.JoinInvitation) []string { return []string{r.ID} },
		keysOf[directory.JoinInvitation]{
			indexCode: {unique: true, of: func(r *directory.JoinInvitation) []string { return []string{string(r.Hash[:])} }},
		}),
	newTable(20, tableJoins, func(r *directory.Join) []string { return []string{r.ID} }, nil),
	newTable(21, tableBackupRuns, func(r *directory.BackupRun) []string { return []string{r.ID} }, nil),
	newTable(22, tableAnswered, func(r *answered) []string { return []string{string(r.ID[:])} }, keysOf[answered]{
		indexPlace: {unique: true, of: func(r *answered) []string { return []string{place(r.Index)} }},
	}),
}

// masterKey is the number of a legacy master as a part of a key: ten digits, so that the order of keys is that of numbers.
func masterKey(number uint32) string { return fmt.Sprintf("%010d", number) }

// keysOf names the further indexes of a table and the parts of their keys.
type keysOf[R any] map[string]struct {
	unique bool
	// optional leaves records out whose first part is empty.
	optional bool
	of       func(*R) []string
}

func newTable[R any](number uint8, name string, id func(*R) []string, further keysOf[R]) table {
	indexes := map[string]*memdb.IndexSchema{
		indexID: {Name: indexID, Unique: true, Indexer: indexer[R]{parts: id}},
	}
	for name, k := range further {
		indexes[name] = &memdb.IndexSchema{
			Name: name, Unique: k.unique, AllowMissing: k.optional, Indexer: indexer[R]{parts: k.of, optional: k.optional},
		}
	}
	return table{name: name, number: number, indexes: indexes, decode: func(data []byte) (any, error) {
		r := new(R)
		return r, command.Unmarshal(data, r)
	}, id: func(record any) []string {
		r, _ := record.(*R)
		return id(r)
	}}
}

// indexer makes the key of a record for one index from its parts, each followed by a zero byte. No part but the last may
// hold a zero byte (apply refuses ids and names that do), so no two lists of parts make the same key and none is the
// beginning of another. Unlike the indexers of memdb it needs no reflection.
type indexer[R any] struct {
	parts    func(*R) []string
	optional bool
}

// FromObject returns the key of a record.
func (x indexer[R]) FromObject(record any) (bool, []byte, error) {
	r, ok := record.(*R)
	if !ok {
		return false, nil, fmt.Errorf("cluster: a %T stands in a table of %T", record, r)
	}
	parts := x.parts(r)
	if x.optional && parts[0] == "" {
		return false, nil, nil
	}
	var key []byte
	for _, p := range parts {
		key = append(append(key, p...), 0)
	}
	return true, key, nil
}

// FromArgs returns the key of the given parts, which are strings.
func (x indexer[R]) FromArgs(args ...any) ([]byte, error) {
	n := 0
	for _, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, fmt.Errorf("cluster: a part of a key is a %T, not a string", a)
		}
		n += len(s) + 1
	}
	key := make([]byte, 0, n)
	for _, a := range args {
		key = append(append(key, a.(string)...), 0)
	}
	return key, nil
}

// PrefixFromArgs returns the beginning that the keys of all records with these first parts share.
func (x indexer[R]) PrefixFromArgs(args ...any) ([]byte, error) { return x.FromArgs(args...) }

// newState returns an empty state.
func newState() *memdb.MemDB {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, t := range tables {
		schema.Tables[t.name] = &memdb.TableSchema{Name: t.name, Indexes: t.indexes}
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(fmt.Sprintf("cluster: schema of the state: %v", err)) // a constant; every test opens it
	}
	return db
}

// first returns the record with these key parts, nil when there is none. The schema is fixed, so an error of memdb is a
// mistake in this package.
func first[R any](txn *memdb.Txn, table, index string, parts ...any) *R {
	found, err := txn.First(table, index, parts...)
	if err != nil {
		panic(fmt.Sprintf("cluster: look up in %s by %s: %v", table, index, err))
	}
	r, _ := found.(*R)
	return r
}

// all returns the records with these key parts, or beginnings of key parts for an index named with "_prefix", in order
// of the index.
func all[R any](txn *memdb.Txn, table, index string, parts ...any) []*R {
	it, err := txn.Get(table, index, parts...)
	if err != nil {
		panic(fmt.Sprintf("cluster: list %s by %s: %v", table, index, err))
	}
	var found []*R
	for r := it.Next(); r != nil; r = it.Next() {
		found = append(found, r.(*R))
	}
	return found
}

func put(txn *memdb.Txn, table string, record any) {
	if err := txn.Insert(table, record); err != nil {
		panic(fmt.Sprintf("cluster: put a record into %s: %v", table, err))
	}
}

func drop(txn *memdb.Txn, table string, record any) {
	if err := txn.Delete(table, record); err != nil {
		panic(fmt.Sprintf("cluster: drop a record from %s: %v", table, err))
	}
}

// item is one record as it stands in a snapshot and as it is hashed: the array [table number, record].
type item struct {
	_      struct{} `cbor:",toarray"`
	Table  uint8
	Record cbor.RawMessage
}

// encodeItems calls yield with the encoding of every record, in order of table and primary key: equal states give equal
// sequences.
func encodeItems(txn *memdb.Txn, yield func(encoded []byte) error) error {
	for _, t := range tables {
		it, err := txn.Get(t.name, indexID)
		if err != nil {
			return fmt.Errorf("list %s: %w", t.name, err)
		}
		for r := it.Next(); r != nil; r = it.Next() {
			record, err := command.Marshal(r)
			if err != nil {
				return fmt.Errorf("encode a record of %s: %w", t.name, err)
			}
			encoded, err := command.Marshal(item{Table: t.number, Record: record})
			if err != nil {
				return fmt.Errorf("encode a record of %s: %w", t.name, err)
			}
			if err := yield(encoded); err != nil {
				return err
			}
		}
	}
	return nil
}

// putItem puts a record that encodeItems wrote.
func putItem(txn *memdb.Txn, i item) error {
	for _, t := range tables {
		if t.number != i.Table {
			continue
		}
		r, err := t.decode(i.Record)
		if err != nil {
			return fmt.Errorf("record of table %s: %w", t.name, err)
		}
		if err := txn.Insert(t.name, r); err != nil {
			return fmt.Errorf("record of table %s: %w", t.name, err)
		}
		return nil
	}
	return fmt.Errorf("record of table %d, which this program does not know: the node needs a newer program", i.Table)
}
