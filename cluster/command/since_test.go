package command

import (
	"errors"
	"testing"

	"cryptoserve/engine/directory"
)

func TestNeeds(t *testing.T) {
	lease, backup := LeaseUsage{Key: "k", Count: 1}, RecordBackup{}
	for name, c := range map[string]struct {
		command Command
		want    uint32
	}{
		"version 1":             {lease, 1},
		"version 2":             {backup, 2},
		"guarded version 1":     {Guarded{Command: inside(lease)}, 1},
		"guarded version 2":     {Guarded{Command: inside(backup)}, 2},
		"once, guarded":         {Once{Command: inside(Guarded{Command: inside(backup)})}, 2},
		"request for approval":  {RequestApproval{directory.Approval{Command: inside(lease)}}, 1},
		"request, once guarded": {Once{Command: inside(Guarded{Command: inside(RequestApproval{directory.Approval{Command: inside(backup)}})})}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Needs(c.command); err != nil || got != c.want {
				t.Fatalf("%d, %v", got, err)
			}
		})
	}
	if _, err := Needs(Guarded{Command: []byte{0xff}}); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
}

// TestOlderProgramKnowsLess: a program whose newest version is 1 does not read a command of version 2, also inside another.
func TestOlderProgramKnowsLess(t *testing.T) {
	backup, lease := inside(RecordBackup{}), inside(LeaseUsage{Key: "k", Count: 1})
	guarded := inside(Guarded{Command: backup})
	defer func(v uint32) { newestVersion = v }(newestVersion)
	for _, data := range [][]byte{backup, guarded, lease} {
		if _, err := Decode(data); err != nil {
			t.Fatal(err)
		}
	}
	newestVersion = 1
	for _, data := range [][]byte{backup, guarded} {
		if _, err := Decode(data); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
	}
	if _, err := Decode(lease); err != nil {
		t.Fatal(err)
	}
}

// TestVersions: no type is newer than the program, and what a build sets must be a version.
func TestVersions(t *testing.T) {
	for typ := TypeUnknown + 1; typ < typeEnd; typ++ {
		if Since(typ) == 0 || Since(typ) > Newest() {
			t.Errorf("type %d is of version %d", typ, Since(typ))
		}
	}
	for _, bad := range []string{"", "0", "-1", "x", "99999999999"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is a version", bad)
				}
			}()
			parseVersion(bad)
		}()
	}
}
