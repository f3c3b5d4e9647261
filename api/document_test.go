package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"cryptoserve/api"
	"cryptoserve/api/apitest"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

func loadDocument(t *testing.T) *apitest.Document {
	t.Helper()
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRoutesAreTheDocument holds the route table and openapi.yaml equal.
func TestRoutesAreTheDocument(t *testing.T) {
	routes := map[string]api.RouteInfo{}
	for _, r := range api.RouteTable() {
		parts := strings.Split(r.Path, "/")
		for i, p := range parts {
			if name, ok := strings.CutPrefix(p, ":"); ok {
				parts[i] = "{" + name + "}"
			}
		}
		routes[r.Method+" "+strings.Join(parts, "/")] = r
	}
	ids := map[string]bool{}
	for _, op := range loadDocument(t).Operations() {
		name := op.Method + " " + op.Path
		r, ok := routes[name]
		if !ok {
			t.Errorf("%s is in the document and not in the table", name)
			continue
		}
		delete(routes, name)
		if ids[op.ID] || op.ID == "" {
			t.Errorf("%s: operationId %q is missing or used twice", name, op.ID)
		}
		ids[op.ID] = true
		if op.Anonymous != r.Anonymous {
			t.Errorf("%s: anonymous is %v in the document, %v in the table", name, op.Anonymous, r.Anonymous)
		}
		if op.HasBody != (r.BodyBytes > 0) {
			t.Errorf("%s: a body is %v in the document, %d bytes in the table", name, op.HasBody, r.BodyBytes)
		}
		if want := rolesOf(r); !slices.Equal(op.Roles, want) {
			t.Errorf("%s: x-roles is %v, the policy says %v", name, op.Roles, want)
		}
		states := []string{"operational", "degraded"}
		if r.Action == "" {
			states = append(states, "failed")
		}
		if !slices.Equal(op.States, states) {
			t.Errorf("%s: x-states is %v, want %v", name, op.States, states)
		}
	}
	for name := range routes {
		t.Errorf("%s is in the table and not in the document", name)
	}
}

// rolesOf returns who may call a route, as package policy decides.
func rolesOf(r api.RouteInfo) []string {
	if r.Anonymous {
		return []string{"anybody"}
	}
	var list []string
	app := &directory.Application{Grants: []directory.Grant{{Context: "c", Encrypt: true, Decrypt: true}}}
	if policy.ApplicationMay(&policy.Subject{Kind: policy.KindApplication}, app, r.Action, "c") {
		list = append(list, "application")
	}
	for _, role := range directory.Roles {
		if policy.UserMay([]directory.Role{role}, r.Action) {
			list = append(list, string(role))
		}
	}
	return list
}

// TestEachSchemaCompiles, used or not.
func TestEachSchemaCompiles(t *testing.T) {
	d := loadDocument(t)
	names := d.SchemaNames()
	if len(names) < 15 {
		t.Fatalf("the document has %d schemas", len(names))
	}
	for _, name := range names {
		if _, err := d.Schema(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEachCodeIsInTheDocument: a client generated from the document knows every problem.
func TestEachCodeIsInTheDocument(t *testing.T) {
	s, err := loadDocument(t).Schema("Problem")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range fault.Kinds() {
		problem := map[string]any{
			"type": "urn:cryptoserve:problem:" + kind.Code(), "title": "t", "status": 400, "code": kind.Code(),
			"request_id": "r", "state": "operational", "retryable": false,
		}
		if err := s.Validate(problem); err != nil {
			t.Errorf("%s: %v", kind.Code(), err)
		}
	}
}

// TestRequestsOfTheDocument: what the schemas accept and refuse is what the server does.
func TestRequestsOfTheDocument(t *testing.T) {
	f := newFixture(t)
	d := loadDocument(t)
	for name, c := range map[string]struct {
		path, body string
	}{
		"smallest":          {encryptPath, `{"plaintext":"","context":"user-pii"}`},
		"all fields":        {encryptPath, `{"plaintext":"AA==","context":"user-pii","associated_data":"AA==","usage":"u","algorithm":"a"}`},
		"unknown field":     {encryptPath, `{"plaintext":"","context":"user-pii","x":1}`},
		"no plaintext":      {encryptPath, `{"context":"user-pii"}`},
		"no context":        {encryptPath, `{"plaintext":""}`},
		"null":              {encryptPath, `{"plaintext":null,"context":"user-pii"}`},
		"base64 of URLs":    {encryptPath, `{"plaintext":"_-_-","context":"user-pii"}`},
		"no padding":        {encryptPath, `{"plaintext":"AA","context":"user-pii"}`},
		"long usage":        {encryptPath, `{"plaintext":"","context":"user-pii","usage":"` + strings.Repeat("a", 65) + `"}`},
		"rotate, nothing":   {"/api/v1/contexts/user-pii/rotate", `{}`},
		"rotate, something": {"/api/v1/contexts/user-pii/rotate", `{"a":"b"}`},
		"rotate, list":      {"/api/v1/contexts/user-pii/rotate", `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			documented := d.CheckRequest(http.MethodPost, c.path, []byte(c.body))
			a := f.do(t, "POST", c.path, c.body)
			if (documented == nil) != (a.StatusCode == http.StatusOK) {
				t.Errorf("the document says %v, the server %s", documented, a.Status)
			}
		})
	}
}
