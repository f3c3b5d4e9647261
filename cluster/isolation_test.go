package cluster

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
)

// TestTenantViewIsolates calls every method of TenantView with everything that stands in the records of ten-a, in every
// combination. For ten-a each finds something, else this test would see nothing; for another tenant none finds a record of
// ten-a, and for one that does not exist none finds anything. A new method is called too.
func TestTenantViewIsolates(t *testing.T) {
	db := world(t)
	of := ownedBy(t, db)
	given := argumentsFrom(t, of["ten-a"])
	v := newView(db, 0)
	views := map[string]*TenantView{}
	for _, id := range []string{"ten-a", "ten-b", "ten-z", "ten", "ten-a\x00", ""} {
		views[id] = v.Tenant(id)
	}
	methods := reflect.TypeFor[*TenantView]()
	if methods.NumMethod() == 0 {
		t.Fatal("there are no methods")
	}
	for i := range methods.NumMethod() {
		t.Run(methods.Method(i).Name, func(t *testing.T) {
			found := map[string]bool{}
			for id, view := range views {
				eachCall(t, reflect.ValueOf(view).Method(i), given, func(arguments string, record any) {
					found[id] = true
					if id != "ten-a" && of["ten-a"][record] {
						t.Errorf("%q finds with (%s) what belongs to ten-a: %+v", id, arguments, record)
					}
					if !of[id][record] {
						t.Errorf("%q finds with (%s) what does not belong to it: %+v", id, arguments, record)
					}
				})
			}
			if !found["ten-a"] {
				t.Error("it finds nothing of ten-a: everything lacks the record, or this test the arguments")
			}
		})
	}
}

// TestVersionsByOwner: a context's own key and the keys in it have versions of their own.
func TestVersionsByOwner(t *testing.T) {
	a := tenantA(world(t))
	if len(a.Versions()) != 3 || len(a.ContextVersions(orchard)) != 2 || len(a.ObjectVersions(press)) != 1 {
		t.Fatalf("%d, %d, %d", len(a.Versions()), len(a.ContextVersions(orchard)), len(a.ObjectVersions(press)))
	}
}

// TestTenantViewAfterDeletion: of a deleted tenant nobody finds anything, not even a tenant without a name.
func TestTenantViewAfterDeletion(t *testing.T) {
	db := world(t)
	given := argumentsFrom(t, ownedBy(t, db)["ten-a"])
	mustApply(t, db, deletion(10, 0), command.DeleteTenant{Tenant: "ten-a", At: 10})
	for _, id := range []string{"ten-a", ""} {
		view := reflect.ValueOf(newView(db, 0).Tenant(id))
		for i := range view.NumMethod() {
			eachCall(t, view.Method(i), given, func(arguments string, record any) {
				t.Errorf("%q finds with %s(%s): %+v", id, view.Type().Method(i).Name, arguments, record)
			})
		}
	}
}

// ownedBy returns the records by the id of the tenant that they belong to. What they are is told by their field Tenant.
func ownedBy(t testing.TB, db *memdb.MemDB) map[string]map[any]bool {
	t.Helper()
	of := map[string]map[any]bool{}
	eachRecord(t, db, func(table string, record any, _ []byte) {
		var owner string
		switch r := record.(type) {
		case *directory.Cluster, *directory.Member, *directory.JoinInvitation, *directory.Join, *directory.BackupRun, *answered:
			return // of the cluster itself
		case *directory.Tenant:
			owner = r.ID
		default:
			field := reflect.ValueOf(record).Elem().FieldByName("Tenant")
			if !field.IsValid() {
				t.Fatalf("whose are the records of %s?", table)
			}
			owner = field.String()
		}
		if of[owner] == nil {
			of[owner] = map[any]bool{}
		}
		of[owner][record] = true
	})
	return of
}

// argumentsFrom collects what can be given to a method, by type, from all fields of records.
func argumentsFrom(t testing.TB, records map[any]bool) map[reflect.Type][]reflect.Value {
	t.Helper()
	given := map[reflect.Type][]reflect.Value{}
	seen := map[any]bool{}
	add := func(v any) {
		if !seen[v] {
			seen[v] = true
			given[reflect.TypeOf(v)] = append(given[reflect.TypeOf(v)], reflect.ValueOf(v))
		}
	}
	add("")
	for record := range records {
		r := reflect.ValueOf(record).Elem()
		for i := range r.NumField() {
			switch f := r.Field(i); f.Interface().(type) {
			// Of other types, such as times, there are many; a method that takes one of them fails below.
			case string, uint32, [32]byte:
				add(f.Interface())
			}
		}
	}
	return given
}

// eachCall calls a method with every combination of arguments and yields each record that it returns.
func eachCall(t testing.TB, method reflect.Value, given map[reflect.Type][]reflect.Value, yield func(arguments string, record any)) {
	t.Helper()
	calls := [][]reflect.Value{nil}
	for i := range method.Type().NumIn() {
		values := given[method.Type().In(i)]
		if len(values) == 0 {
			t.Fatalf("the test has no argument of type %s", method.Type().In(i))
		}
		var longer [][]reflect.Value
		for _, call := range calls {
			for _, v := range values {
				longer = append(longer, append(call[:len(call):len(call)], v))
			}
		}
		calls = longer
	}
	for _, call := range calls {
		for _, result := range method.Call(call) {
			for _, record := range recordsIn(t, result) {
				yield(fmt.Sprint(call), record)
			}
		}
	}
}

func recordsIn(t testing.TB, v reflect.Value) []any {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return []any{v.Interface()}
	case reflect.Slice:
		var found []any
		for i := range v.Len() {
			found = append(found, recordsIn(t, v.Index(i))...)
		}
		return found
	default:
		t.Fatalf("the test does not know what belongs to whom in a %s", v.Type())
		return nil
	}
}
