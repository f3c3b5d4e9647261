package keys

import (
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

// TestStateTable writes the table of what each state allows out in full: SP 800-57 part 1 section 7.
func TestStateTable(t *testing.T) {
	want := map[State][2]bool{ // protect, process
		StateUnknown:  {false, false},
		PreActivation: {false, false},
		Active:        {true, true},
		Suspended:     {false, false},
		Deactivated:   {false, true},
		Compromised:   {false, false},
		Destroyed:     {false, false},
	}
	for s := StateUnknown; s <= Destroyed+1; s++ {
		if s.Allows(Protect) != want[s][0] || s.Allows(Process) != want[s][1] || s.Allows(ClassUnknown) {
			t.Errorf("%s: protect %v, process %v", s, s.Allows(Protect), s.Allows(Process))
		}
	}
}

func TestTransitions(t *testing.T) {
	want := map[[2]State]bool{
		{PreActivation, Active}: true, {PreActivation, Compromised}: true, {PreActivation, Destroyed}: true,
		{Active, Suspended}: true, {Active, Deactivated}: true, {Active, Compromised}: true,
		{Suspended, Active}: true, {Suspended, Deactivated}: true, {Suspended, Compromised}: true,
		{Deactivated, Compromised}: true, {Deactivated, Destroyed}: true,
		{Compromised, Destroyed}: true,
	}
	for from := StateUnknown; from <= Destroyed; from++ {
		for to := StateUnknown; to <= Destroyed; to++ {
			if from.MayBecome(to) != want[[2]State{from, to}] {
				t.Errorf("%s to %s: %v", from, to, from.MayBecome(to))
			}
		}
	}
}

func good() Version {
	return Version{
		ID: NewID("user-pii", [8]byte{1, 2}), Tenant: "tenant_1", Context: "user-pii", Number: 1, State: Active,
		Algorithm: algs.AES256GCM, Bits: 256, Salt: make([]byte, SaltBytes),
	}
}

func TestValidate(t *testing.T) {
	v := good()
	if err := v.Validate(); err != nil || v.ID != "key_user-pii_0102000000000000" {
		t.Fatalf("%s: %v", v.ID, err)
	}
	v.Salt = nil
	if err := v.Validate(); err != nil {
		t.Fatalf("deterministic: %v", err)
	}
	cases := map[string]func(*Version){
		"id form":         func(v *Version) { v.ID = "key_user-pii_01" },
		"id injection":    func(v *Version) { v.ID = `key_a"b_0102000000000000` },
		"no tenant":       func(v *Version) { v.Tenant = "" },
		"no context":      func(v *Version) { v.Context = "" },
		"number 0":        func(v *Version) { v.Number = 0 },
		"unknown state":   func(v *Version) { v.State = StateUnknown },
		"state beyond":    func(v *Version) { v.State = Destroyed + 1 },
		"short salt":      func(v *Version) { v.Salt = v.Salt[:16] },
		"over the limit":  func(v *Version) { v.Leased = GCMRandomNonceLimit + 1 },
		"unknown cipher":  func(v *Version) { v.Algorithm = "XTS" },
		"bits of another": func(v *Version) { v.Bits = 128 },
	}
	for name, breakIt := range cases {
		t.Run(name, func(t *testing.T) {
			v := good()
			breakIt(&v)
			if v.Validate() == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestStateNames(t *testing.T) {
	for s := StateUnknown; s <= Destroyed; s++ {
		if s.String() == "" || (s != StateUnknown && strings.Contains(s.String(), "unknown")) {
			t.Errorf("state %d is called %q", s, s)
		}
	}
	if State(99).String() != "unknown" {
		t.Error("a state that does not exist has a name")
	}
}
