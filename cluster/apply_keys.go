package cluster

import (
	"bytes"
	"reflect"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

func createKey(txn *memdb.Txn, c command.CreateKey) command.Outcome {
	o, v := c.Object, c.Version
	if err := o.Validate(); err != nil {
		return refused(fault.Malformed, "the key is not valid")
	}
	if out := checkNewObjectVersion(txn, &o, &v, 1); out.Refused != 0 {
		return out
	}
	switch {
	case o.ActiveKey != v.ID || o.Versions != 1 || o.MinimumVersion > 1 || o.Disabled:
		return refused(fault.Malformed, "the key does not name its first version, closes it, or begins disabled")
	case first[directory.Context](txn, tableContexts, indexID, o.Tenant, o.Context) == nil:
		return refused(fault.NotFound, "the context does not exist")
	case first[keys.Object](txn, tableObjects, indexID, o.Tenant, o.Name) != nil:
		return refused(fault.Conflict, "a key with this name exists already")
	}
	if out := useImport(txn, c.Import, &v, o.Protection); out.Refused != 0 {
		return out
	}
	put(txn, tableObjects, &o)
	put(txn, tableVersions, &v)
	return done
}

// checkNewObjectVersion holds what is true of a version that becomes the active one of a key object.
func checkNewObjectVersion(txn *memdb.Txn, o *keys.Object, v *keys.Version, number uint32) command.Outcome {
	if out := checkFresh(txn, v, o.Tenant, o.Context, o.Name, o.Algorithm, number); out.Refused != 0 {
		return out
	}
	if (len(v.Wrapped) != 0) != (o.Protection == keys.Token) {
		return refused(fault.Malformed, "the key version is not protected as its key says")
	}
	return done
}

// useImport ends the pair that a version was imported with. It writes only when it does not refuse, and is the last check.
func useImport(txn *memdb.Txn, id string, v *keys.Version, protection keys.Protection) command.Outcome {
	if id == "" {
		if v.Imported {
			return refused(fault.Malformed, "an imported key version names no import")
		}
		return done
	}
	if !v.Imported {
		return refused(fault.Malformed, "the key version is not marked as imported")
	}
	pair, out := pendingImport(txn, v.Tenant, id, protection, v.CreatedAt)
	if out.Refused == 0 {
		drop(txn, tableImports, pair)
	}
	return out
}

// pendingImport returns a pair that still serves at a time, for a key of this protection.
func pendingImport(txn *memdb.Txn, tenant, id string, protection keys.Protection, at int64) (*keys.Import, command.Outcome) {
	pair := first[keys.Import](txn, tableImports, indexID, tenant, id)
	switch {
	case pair == nil:
		return nil, refused(fault.NotFound, "the import does not exist, or was used")
	case pair.Protection != protection:
		return nil, refused(fault.Conflict, "the import is for another protection")
	case pair.ExpiresAt < at:
		return nil, refused(fault.Conflict, "the import has expired")
	}
	return pair, done
}

func rotateKey(txn *memdb.Txn, c command.RotateKey) command.Outcome {
	v := c.Version
	o := first[keys.Object](txn, tableObjects, indexID, v.Tenant, v.Object)
	if o == nil {
		return refused(fault.NotFound, "the key does not exist")
	}
	if out := checkNewObjectVersion(txn, o, &v, o.Versions+1); out.Refused != 0 {
		return out
	}
	if out := useImport(txn, c.Import, &v, o.Protection); out.Refused != 0 {
		return out
	}
	deactivate(txn, o.ActiveKey, v.CreatedAt)
	next := *o
	next.ActiveKey, next.Versions = v.ID, v.Number
	put(txn, tableObjects, &next)
	put(txn, tableVersions, &v)
	return done
}

func setKeyDisabled(txn *memdb.Txn, c command.SetKeyDisabled) command.Outcome {
	o := first[keys.Object](txn, tableObjects, indexID, c.Tenant, c.Name)
	if o == nil {
		return refused(fault.NotFound, "the key does not exist")
	}
	next := *o
	next.Disabled = c.Disabled
	put(txn, tableObjects, &next)
	return done
}

// maxImports is how many pairs of a tenant may wait for a wrapped key at once.
const maxImports = 16

func createImport(txn *memdb.Txn, c command.CreateImport) command.Outcome {
	i := c.Import
	switch {
	case i.Validate() != nil:
		return refused(fault.Malformed, "the import is not valid")
	case !validKey(i.Tenant) || first[directory.Tenant](txn, tableTenants, indexID, i.Tenant) == nil:
		return refused(fault.NotFound, "the tenant does not exist")
	case first[keys.Import](txn, tableImports, indexID, i.Tenant, i.ID) != nil:
		return refused(fault.Conflict, "an import with this id exists already")
	}
	var ended []*keys.Import
	waiting := all[keys.Import](txn, tableImports, indexID+"_prefix", i.Tenant)
	for _, old := range waiting {
		if old.ExpiresAt < i.CreatedAt {
			ended = append(ended, old)
		}
	}
	if len(waiting)-len(ended) >= maxImports {
		return refused(fault.Conflict, "too many imports wait for their keys: use one of them, or wait until they expire")
	}
	for _, old := range ended {
		drop(txn, tableImports, old)
	}
	put(txn, tableImports, &i)
	return done
}

func importLegacy(txn *memdb.Txn, c command.ImportLegacy) command.Outcome {
	if !validKey(c.Tenant) || len(c.Masters) > 1 || len(c.Masters) == 1 && c.Import == "" {
		return refused(fault.Malformed, "the import names no tenant, more than one master key, or one without its pair")
	}
	masters := map[uint32]bool{}
	for _, m := range all[keys.LegacyMaster](txn, tableMasters, indexTenant, c.Tenant) {
		masters[m.Number] = true
	}
	for i := range c.Masters {
		m := &c.Masters[i]
		switch {
		case m.Tenant != c.Tenant || m.Number == 0 || len(m.KCV) == 0 || len(m.Wrapped) == 0:
			return refused(fault.Malformed, "the master key is not valid")
		case first[keys.LegacyMaster](txn, tableMasters, indexID, masterKey(m.Number)) != nil:
			return refused(fault.Conflict, "a master key with this number exists already")
		}
		masters[m.Number] = true
	}
	if first[directory.Tenant](txn, tableTenants, indexID, c.Tenant) == nil {
		return refused(fault.NotFound, "the tenant does not exist")
	}
	var pair *keys.Import
	if c.Import != "" {
		at := int64(0)
		if len(c.Masters) == 1 {
			at = c.Masters[0].CreatedAt
		}
		var out command.Outcome
		if pair, out = pendingImport(txn, c.Tenant, c.Import, keys.Token, at); out.Refused != 0 {
			return out
		}
	}
	var added []*keys.LegacyKey
	named := map[string]bool{}
	for i := range c.Keys {
		k := &c.Keys[i]
		switch {
		case named[k.KeyID]:
			return refused(fault.Malformed, "an imported key version is named twice")
		case k.Validate() != nil || k.Tenant != c.Tenant || !masters[k.Master]:
			return refused(fault.Malformed, "an imported key version is not valid")
		case first[directory.Context](txn, tableContexts, indexID, k.Tenant, k.Context) == nil:
			return refused(fault.NotFound, "the context of an imported key version does not exist")
		case first[keys.Version](txn, tableVersions, indexID, k.KeyID) != nil:
			return refused(fault.Conflict, "an imported key version exists already, and is another")
		}
		named[k.KeyID] = true
		if before := first[keys.LegacyKey](txn, tableLegacy, indexID, k.Tenant, k.KeyID); before != nil {
			if !sameLegacyKey(before, k) {
				return refused(fault.Conflict, "an imported key version exists already, and is another")
			}
			continue
		}
		added = append(added, k)
	}
	if pair != nil {
		drop(txn, tableImports, pair)
	}
	for i := range c.Masters {
		put(txn, tableMasters, &c.Masters[i])
	}
	for _, k := range added {
		put(txn, tableLegacy, k)
	}
	return done
}

// sameLegacyKey reports whether two records mean the same key: what a repeated import differs in is its time, and the bytes
// of a key pair that was sealed again.
func sameLegacyKey(a, b *keys.LegacyKey) bool {
	x, y := *a, *b
	x.CreatedAt, y.CreatedAt = 0, 0
	if len(x.Sealed) == len(y.Sealed) && !bytes.Equal(x.Sealed, y.Sealed) {
		x.Sealed, y.Sealed = nil, nil
	}
	return reflect.DeepEqual(x, y)
}
