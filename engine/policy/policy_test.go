package policy

import (
	"slices"
	"testing"

	"cryptoserve/engine/directory"
)

var actions = []Action{
	Encrypt, Decrypt, ListContexts, RotateContext, RefreshToken, CreateCluster, CreateTenant, CreateContext, CreateApplication,
	CreateUser, IssueToken, Request, "unknown",
}

// TestRoles writes the table role x action out in full.
func TestRoles(t *testing.T) {
	want := map[directory.Role][]Action{
		directory.Viewer:    {ListContexts},
		directory.Developer: {ListContexts},
		directory.Admin:     {ListContexts, RotateContext},
		directory.Owner:     {ListContexts, RotateContext},
		directory.Operator:  {},
		directory.Auditor:   {ListContexts},
		"unknown":           {},
	}
	for role, may := range want {
		for _, a := range actions {
			if got := UserMay([]directory.Role{role}, a); got != slices.Contains(may, a) {
				t.Errorf("%s, %s: %v", role, a, got)
			}
		}
	}
	if UserMay(nil, ListContexts) {
		t.Error("a user without roles may list contexts")
	}
}

func TestAppliance(t *testing.T) {
	for _, a := range actions {
		want := !slices.Contains([]Action{Encrypt, Decrypt, ListContexts, RefreshToken, Request, "unknown"}, a)
		if ApplianceMay(a) != want {
			t.Errorf("%s: %v", a, !want)
		}
	}
}

func TestApplications(t *testing.T) {
	app := &directory.Application{Grants: []directory.Grant{
		{Context: "both", Encrypt: true, Decrypt: true}, {Context: "in", Encrypt: true}, {Context: "out", Decrypt: true}, {Context: "neither"},
	}}
	cases := []struct {
		name     string
		narrowed []string
		action   Action
		context  string
		want     bool
	}{
		{"granted", nil, Encrypt, "both", true},
		{"granted, decrypt", nil, Decrypt, "both", true},
		{"encrypt only", nil, Decrypt, "in", false},
		{"decrypt only", nil, Encrypt, "out", false},
		{"neither", nil, Encrypt, "neither", false},
		{"not granted", nil, Encrypt, "other", false},
		{"narrowed to it", []string{"both"}, Encrypt, "both", true},
		{"narrowed to another", []string{"in"}, Encrypt, "both", false},
		{"narrowed to nothing", []string{}, Encrypt, "both", false},
		{"token does not widen", []string{"other"}, Encrypt, "other", false},
		{"not an action on data", nil, RotateContext, "both", false},
		{"unknown action", nil, "unknown", "both", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := ApplicationMay(&Subject{Narrowed: c.narrowed}, app, c.action, c.context); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}
