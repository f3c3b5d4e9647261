package cluster

import (
	"fmt"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
)

func newObjectVersion(tenant, context, object string, number uint32, id string) keys.Version {
	return keys.Version{
		ID: id, Tenant: tenant, Context: context, Object: object, Number: number, State: keys.Active, Algorithm: algs.Ed25519,
		CreatedAt: int64(number) * 1000, Public: fill(32, 9), Sealed: fill(93, byte(number)),
	}
}

func newKey(tenant, context, name, id string) command.CreateKey {
	return command.CreateKey{
		Object: keys.Object{
			Tenant: tenant, Name: name, Context: context, Purpose: keys.PurposeSign, Algorithm: algs.Ed25519, Protection: keys.Host,
			ActiveKey: id, Versions: 1, CreatedAt: 1000,
		},
		Version: newObjectVersion(tenant, context, name, 1, id),
	}
}

func newImport(tenant, id string, from, to int64) command.CreateImport {
	return command.CreateImport{Import: keys.Import{
		ID: id, Tenant: tenant, Protection: keys.Host, Public: fill(40, 1), Sealed: fill(60, 2), Hash: algs.SHA256, CreatedAt: from, ExpiresAt: to,
	}}
}

func newMaster(tenant string, number uint32) keys.LegacyMaster {
	return keys.LegacyMaster{Number: number, Tenant: tenant, KCV: fill(8, byte(number)), Wrapped: fill(40, 3), CreatedAt: 5}
}

func newLegacy(tenant, context, id string, master uint32) command.ImportLegacy {
	return command.ImportLegacy{Tenant: tenant, Keys: []keys.LegacyKey{{
		Tenant: tenant, KeyID: id, Context: context, Master: master, OriginalTenant: "t", Number: 1, State: keys.Deactivated, CreatedAt: 5,
	}}}
}

const (
	importOne = "import_0000000000000001"
	importTwo = "import_0000000000000002"
	importHSM = "import_0000000000000003"
	legacyOne = "key_apple_a1b2c3d4"
)

// seedKeys adds a record to each table of keys.
func seedKeys() []command.Command {
	first := newLegacy("ten-a", "apple", legacyOne, 1)
	first.Masters, first.Import = []keys.LegacyMaster{newMaster("ten-a", 1)}, importHSM
	return []command.Command{
		newKey("ten-a", "apple", "seal", keyID("apple", 20)), newImport("ten-a", importOne, 10, 5000), tokenImport("ten-a", importHSM, 1, 5000), first,
		tokenImport("ten-a", importHSM, 1, 5000),
	}
}

// tokenImport is an import whose private half is in the token.
func tokenImport(tenant, id string, from, to int64) command.CreateImport {
	c := newImport(tenant, id, from, to)
	c.Import.Protection, c.Import.Wrapped, c.Import.Sealed = keys.Token, c.Import.Sealed, nil
	return c
}

// withMaster is an import of a deployment with its master key.
func withMaster(change func(*keys.LegacyMaster)) command.ImportLegacy {
	c := newLegacy("ten-a", "apple", "key_apple_00000002", 7)
	m := newMaster("ten-a", 7)
	change(&m)
	c.Masters, c.Import = []keys.LegacyMaster{m}, importHSM
	return c
}

func imported(c command.CreateKey) command.CreateKey {
	c.Import, c.Version.Imported = importOne, true
	return c
}

func objectRotation(number uint32, key int) command.RotateKey {
	return command.RotateKey{Version: newObjectVersion("ten-a", "apple", "seal", number, keyID("apple", key))}
}

func TestApplyRefusesKeys(t *testing.T) {
	fresh := newKey("ten-a", "apple", "other", keyID("apple", 30))
	legacy := newLegacy("ten-a", "apple", "key_apple_00000002", 1)
	for name, c := range map[string]struct {
		command command.Command
		want    fault.Kind
	}{
		"key: used name":         {newKey("ten-a", "apple", "seal", keyID("apple", 30)), fault.Conflict},
		"key: used id":           {newKey("ten-a", "apple", "other", keyID("apple", 20)), fault.Conflict},
		"key: id of a context's": {newKey("ten-a", "apple", "other", keyID("apple", 3)), fault.Conflict},
		"key: no context":        {newKey("ten-a", "pear", "other", keyID("pear", 30)), fault.NotFound},
		"key: no tenant":         {newKey("ten-z", "apple", "other", keyID("apple", 30)), fault.NotFound},
		"key: begins disabled":   {changed(fresh, func(c *command.CreateKey) { c.Object.Disabled = true }), fault.Malformed},
		"key: two versions":      {changed(fresh, func(c *command.CreateKey) { c.Object.Versions = 2 }), fault.Malformed},
		"key: other active":      {changed(fresh, func(c *command.CreateKey) { c.Object.ActiveKey = keyID("apple", 31) }), fault.Malformed},
		"key: bad name":          {newKey("ten-a", "apple", "No", keyID("apple", 30)), fault.Malformed},
		"key: wrong purpose":     {changed(fresh, func(c *command.CreateKey) { c.Object.Purpose = keys.PurposeMAC }), fault.Malformed},
		"key: other algorithm":   {changed(fresh, func(c *command.CreateKey) { c.Version.Algorithm = algs.ECDSAP256 }), fault.Malformed},
		"key: other protection":  {changed(fresh, func(c *command.CreateKey) { c.Object.Protection = keys.Token }), fault.Malformed},
		"key: no material":       {changed(fresh, func(c *command.CreateKey) { c.Version.Sealed = nil }), fault.Malformed},
		"key: other context":     {changed(fresh, func(c *command.CreateKey) { c.Version.Context = secretContext }), fault.Malformed},
		"key: other object":      {changed(fresh, func(c *command.CreateKey) { c.Version.Object = "seal" }), fault.Malformed},
		"key: leased":            {changed(fresh, func(c *command.CreateKey) { c.Version.Leased = 1 }), fault.Malformed},
		"key: number 2":          {changed(fresh, func(c *command.CreateKey) { c.Version.Number = 2 }), fault.Conflict},
		"key: imported, no pair": {changed(fresh, func(c *command.CreateKey) { c.Version.Imported = true }), fault.Malformed},
		"key: pair, not marked":  {changed(fresh, func(c *command.CreateKey) { c.Import = importOne }), fault.Malformed},
		"key: unknown pair":      {changed(imported(fresh), func(c *command.CreateKey) { c.Import = importTwo }), fault.NotFound},
		"key: expired pair":      {changed(imported(fresh), func(c *command.CreateKey) { c.Version.CreatedAt = 5001 }), fault.Conflict},
		"key: pair of the token": {changed(imported(fresh), func(c *command.CreateKey) {
			c.Object.Protection, c.Object.Algorithm, c.Version.Algorithm = keys.Token, algs.ECDSAP256, algs.ECDSAP256
			c.Version.Wrapped, c.Version.Sealed = c.Version.Sealed, nil
		}), fault.Conflict},
		"context: version of a key": {changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) {
			c.Version.Object, c.Version.Sealed, c.Version.Salt = "seal", fill(9, 1), nil
		}), fault.Malformed},
		"rotate key: same number":   {objectRotation(1, 30), fault.Conflict},
		"rotate key: too high":      {objectRotation(3, 30), fault.Conflict},
		"rotate key: unknown":       {changed(objectRotation(2, 30), func(c *command.RotateKey) { c.Version.Object = "none" }), fault.NotFound},
		"rotate key: other tenant":  {changed(objectRotation(2, 30), func(c *command.RotateKey) { c.Version.Tenant = "ten-b" }), fault.NotFound},
		"rotate key: unknown pair":  {changed(objectRotation(2, 30), func(c *command.RotateKey) { c.Import, c.Version.Imported = importTwo, true }), fault.NotFound},
		"legacy: no tenant's id":    {command.ImportLegacy{}, fault.Malformed},
		"legacy: number 0 alone":    {changed(withMaster(func(m *keys.LegacyMaster) { m.Number = 0 }), func(c *command.ImportLegacy) { c.Keys = nil }), fault.Malformed},
		"disable: unknown":          {command.SetKeyDisabled{Tenant: "ten-b", Name: "seal", Disabled: true}, fault.NotFound},
		"import: used":              {newImport("ten-a", importOne, 10, 5000), fault.Conflict},
		"import: no tenant":         {newImport("ten-z", importTwo, 10, 5000), fault.NotFound},
		"import: ends at once":      {newImport("ten-a", importTwo, 10, 10), fault.Malformed},
		"import: bad id":            {newImport("ten-a", "import_1", 10, 5000), fault.Malformed},
		"legacy: no such master":    {newLegacy("ten-a", "apple", "key_apple_00000002", 2), fault.Malformed},
		"legacy: other's master":    {newLegacy("ten-b", secretContext, "key_apple_00000002", 1), fault.Malformed},
		"legacy: no context":        {newLegacy("ten-a", "pear", "key_apple_00000002", 1), fault.NotFound},
		"legacy: id of ours":        {newLegacy("ten-a", "apple", keyID("apple", 3), 1), fault.Conflict},
		"legacy: another, same id":  {changed(newLegacy("ten-a", "apple", legacyOne, 1), func(c *command.ImportLegacy) { c.Keys[0].Number = 2 }), fault.Conflict},
		"legacy: named twice":       {changed(legacy, func(c *command.ImportLegacy) { c.Keys = append(c.Keys, c.Keys[0]) }), fault.Malformed},
		"legacy: active":            {changed(newLegacy("ten-a", "apple", "key_apple_00000002", 1), func(c *command.ImportLegacy) { c.Keys[0].State = keys.Active }), fault.Malformed},
		"legacy: other tenant's":    {changed(newLegacy("ten-a", "apple", "key_apple_00000002", 1), func(c *command.ImportLegacy) { c.Keys[0].Tenant = "ten-b" }), fault.Malformed},
		"legacy: used master":       {withMaster(func(m *keys.LegacyMaster) { m.Number = 1 }), fault.Conflict},
		"legacy: master of another": {withMaster(func(m *keys.LegacyMaster) { m.Tenant = "ten-b" }), fault.Malformed},
		"legacy: master number 0":   {withMaster(func(m *keys.LegacyMaster) { m.Number = 0 }), fault.Malformed},
		"legacy: no KCV":            {withMaster(func(m *keys.LegacyMaster) { m.KCV = nil }), fault.Malformed},
		"legacy: not wrapped":       {withMaster(func(m *keys.LegacyMaster) { m.Wrapped = nil }), fault.Malformed},
		"legacy: too late":          {withMaster(func(m *keys.LegacyMaster) { m.CreatedAt = 5001 }), fault.Conflict},
		"legacy: pair of a node":    {changed(withMaster(func(*keys.LegacyMaster) {}), func(c *command.ImportLegacy) { c.Import = importOne }), fault.Conflict},
		"legacy: master, no pair":   {changed(withMaster(func(*keys.LegacyMaster) {}), func(c *command.ImportLegacy) { c.Import = "" }), fault.Malformed},
		"legacy: two masters": {changed(legacy, func(c *command.ImportLegacy) {
			c.Masters = []keys.LegacyMaster{newMaster("ten-a", 2), newMaster("ten-a", 3)}
		}), fault.Malformed},
		"legacy: unknown import": {changed(legacy, func(c *command.ImportLegacy) { c.Import = importTwo }), fault.NotFound},
		"legacy: no tenant":      {command.ImportLegacy{Tenant: "ten-z"}, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			db := seeded(t)
			applyAll(t, db, seedKeys()...)
			before := newView(db, 0).Digest()
			out := applyAll(t, db, c.command)[0]
			if out.Refused != c.want {
				t.Fatalf("got %v, want %v", out, c.want)
			}
			if newView(db, 0).Digest() != before {
				t.Fatal("a refused command changed the state")
			}
		})
	}
}

func TestKeysLiveAndRotate(t *testing.T) {
	db := seeded(t)
	commands := append(seedKeys(), objectRotation(2, 21), command.SetKeyDisabled{Tenant: "ten-a", Name: "seal", Disabled: true})
	for i, out := range applyAll(t, db, commands...) {
		if out.Refused != 0 {
			t.Fatalf("command %d: %+v", i, out)
		}
	}
	v := newView(db, 0)
	a, b := v.Tenant("ten-a"), v.Tenant("ten-b")
	o := a.Object("seal")
	if o == nil || !o.Disabled || o.Versions != 2 || o.ActiveKey != keyID("apple", 21) || len(a.Objects()) != 1 {
		t.Fatalf("%+v", o)
	}
	if old := a.Version(keyID("apple", 20)); old.State != keys.Deactivated || old.DeactivatedAt != 2000 {
		t.Fatalf("the version before: %+v", old)
	}
	if len(a.ObjectVersions("seal")) != 2 || len(a.ObjectVersions("sea")) != 0 || len(a.ObjectVersions("apple")) != 0 {
		t.Fatal("the versions of the key are wrong")
	}
	if b.Object("seal") != nil || len(b.Objects()) != 0 || len(b.ObjectVersions("seal")) != 0 || b.Import(importOne) != nil ||
		b.LegacyKey(legacyOne) != nil || b.LegacyMaster(1) != nil || len(b.LegacyMasters()) != 0 {
		t.Fatal("a tenant finds what belongs to another")
	}
	if a.LegacyKey(legacyOne) == nil || a.LegacyMaster(1) == nil || a.LegacyMaster(2) != nil || v.LegacyMasters() != 1 {
		t.Fatal("what was imported is not found")
	}
}

// TestImportServesOnce: the pair of an import ends with the key that used it, and with its time.
func TestImportServesOnce(t *testing.T) {
	db := seeded(t)
	applyAll(t, db, seedKeys()...)
	one := imported(newKey("ten-a", "apple", "one", keyID("apple", 30)))
	two := imported(newKey("ten-a", "apple", "two", keyID("apple", 31)))
	out := applyAll(t, db, one, two, newImport("ten-a", importTwo, 10, 20), newImport("ten-a", importOne, 21, 30))
	if out[0].Refused != 0 || out[1].Refused != fault.NotFound || out[2].Refused != 0 || out[3].Refused != 0 {
		t.Fatalf("%+v", out)
	}
	if a := newView(db, 0).Tenant("ten-a"); a.Import(importTwo) != nil || a.Import(importOne) == nil {
		t.Fatal("an import that ended is still there, or a new one is not")
	}
}

// TestLegacyImportMayBeRepeated: the same rows again change nothing and are no conflict.
func TestLegacyImportMayBeRepeated(t *testing.T) {
	db := seeded(t)
	applyAll(t, db, seedKeys()...)
	before := newView(db, 0).Digest()
	again := newLegacy("ten-a", "apple", legacyOne, 1)
	again.Keys[0].CreatedAt = 99
	if out := applyAll(t, db, again)[0]; out.Refused != 0 {
		t.Fatalf("%+v", out)
	}
	if newView(db, 0).Digest() != before {
		t.Fatal("a repeated import changed the state")
	}
	// A used import is dropped by it, so that it serves once here too.
	more := newLegacy("ten-a", "apple", "key_apple_00000002", 1)
	more.Import = importHSM
	if out := applyAll(t, db, more, more); out[0].Refused != 0 || out[1].Refused != fault.NotFound {
		t.Fatalf("%+v", out)
	}
}

// TestLegacyPairMayBeSealedAgain: the bytes of a seal differ each time, its length does not.
func TestLegacyPairMayBeSealedAgain(t *testing.T) {
	pair := func(n int, b byte) command.ImportLegacy {
		c := newLegacy("ten-a", "apple", "key_apple_00000003", 1)
		c.Keys[0].Algorithm, c.Keys[0].Sealed = algs.AES256GCMMLKEM768, fill(n, b)
		return c
	}
	db := seeded(t)
	mustApply(t, db, seedKeys()...)
	mustApply(t, db, pair(90, 1))
	before := newView(db, 0).Digest()
	mustApply(t, db, pair(90, 1), pair(90, 2))
	if out := applyAll(t, db, pair(91, 1))[0]; out.Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
	if newView(db, 0).Digest() != before {
		t.Fatal("the first record did not stay")
	}
}

// TestHybridContextNeedsItsPair: a context under an encapsulated key has versions with a stored pair and no salt.
func TestHybridContextNeedsItsPair(t *testing.T) {
	hybrid := changed(newContext("ten-a", "pear", keyID("pear", 9)), func(c *command.CreateContext) {
		c.Context.Algorithm, c.Version.Algorithm = algs.X25519MLKEM768AES256GCM, algs.X25519MLKEM768AES256GCM
	})
	good := changed(hybrid.(command.CreateContext), func(c *command.CreateContext) {
		c.Version.Salt, c.Version.Public, c.Version.Sealed = nil, fill(9, 1), fill(9, 2)
	})
	out := applyAll(t, seeded(t), hybrid, good)
	if out[0].Refused != fault.Malformed || out[1].Refused != 0 {
		t.Fatalf("%+v", out)
	}
}

// TestImportsThatWaitAreBounded: a tenant fills no state with pairs; another tenant's do not count, nor those that expired.
func TestImportsThatWaitAreBounded(t *testing.T) {
	db := seeded(t)
	id := func(i int) string { return fmt.Sprintf("import_%016x", i) }
	for i := range maxImports {
		if out := applyAll(t, db, newImport("ten-a", id(i), 10, 20+int64(i)), newImport("ten-b", id(i), 10, 20)); out[0].Refused != 0 || out[1].Refused != 0 {
			t.Fatalf("%d: %+v", i, out)
		}
	}
	out := applyAll(t, db, newImport("ten-a", id(100), 15, 30), newImport("ten-a", id(100), 21, 30), newImport("ten-a", id(101), 21, 30))
	if out[0].Refused != fault.Conflict || out[1].Refused != 0 || out[2].Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
}
