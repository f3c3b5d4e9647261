//go:build !race

package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cryptoserve/api/apitest"
	"cryptoserve/api/wire"
	"cryptoserve/engine/directory"
)

// walker is somebody who walks all routes.
type walker struct {
	name   string
	token  string
	roles  []string // as x-roles names them; empty for nobody
	tenant string
	// foreign are the path parameters of things of another tenant.
	foreign map[string]string
}

// may reports whether an operation is for the walker, as the document says.
func (w *walker) may(op *apitest.Operation) bool {
	return slices.ContainsFunc(op.Roles, func(r string) bool { return slices.Contains(w.roles, r) })
}

// missing are path parameters that name nothing.
var missing = map[string]string{
	"context": "zz-missing", "key": "zz-missing", "policy": "zz-missing", "import": "import_0000000000000000",
	"application": "app_missing_0000000000000000", "user": "user_0000000000000000", "tenant": "tenant_0000000000000000",
	"version": "key_zz-missing_0000000000000000", "approval": "approval_0000000000000000",
	"backup": "backup_20260101t000000z_0123456789abcdef", "member": "node_0000000000000000", "join": "join_0000000000000000",
	"invitation": "invite_0000000000000000", "session": "0000000000000000", "code": "BBBB-BBBB",
}

// TestInvariant08RoutesTimesRolesTimesTenants calls every operation of the document as every role, every pair of roles, an
// application and nobody, for things that do not exist and for things of another tenant. Who may call it at all is what the
// document says, which a test holds equal to the policy's table; and what belongs to another tenant answers as what does not
// exist.
func TestInvariant08RoutesTimesRolesTimesTenants(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"), "--audit", "relaxed")
	document, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	transport := d.transport()
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	walkers := population(t, d)
	combinations, compared := 0, 0
	for _, op := range document.Operations() {
		if op.Anonymous {
			continue
		}
		var body []byte
		if op.HasBody {
			schema, err := document.RequestSchema(op.Method, filled(op.Path, missing))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = json.Marshal(sample(t, "", schema)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range walkers {
			w := &walkers[i]
			if op.ID == "logout" && w.may(&op) {
				continue // it would end the walk: TestSessionsEnd is about it
			}
			combinations++
			status, absent := call(t, client, d, w, op.Method, filled(op.Path, missing), body)
			switch {
			case len(w.roles) == 0 && status != http.StatusUnauthorized,
				len(w.roles) > 0 && !w.may(&op) && status != http.StatusForbidden,
				w.may(&op) && (status == http.StatusUnauthorized || status == http.StatusForbidden && !narrowed(&op, w)),
				status >= http.StatusInternalServerError:
				t.Errorf("%s %s (%s) as %s: %d, and it is for %v: %s", op.Method, op.Path, body, w.name, status, op.Roles, absent)
			}
			if w.foreign == nil || !strings.Contains(op.Path, "{") || !w.may(&op) {
				continue
			}
			path := filled(op.Path, w.foreign)
			if path == "" {
				continue
			}
			combinations++
			compared++
			theirs, foreign := call(t, client, d, w, op.Method, path, body)
			if theirs != status || foreign != absent {
				t.Errorf("%s %s as %s of %s: what another tenant has answers %d %s, what nobody has %d %s",
					op.Method, op.Path, w.name, w.tenant, theirs, foreign, status, absent)
			}
		}
	}
	if combinations < 3000 || compared < 300 {
		t.Errorf("only %d combinations were tried, and %d compared", combinations, compared)
	}
	if !t.Failed() {
		t.Logf("%d combinations of routes, roles and tenants, %d of them with things of another tenant: no disagreement", combinations, compared)
	}
}

// narrowed are the operations that the table allows and a record can still refuse: the context of an application's grant, the
// roles that a user may give, the contexts that he may grant.
func narrowed(op *apitest.Operation, w *walker) bool {
	switch op.ID {
	case "createUser", "createInvitation": // an administrator of the appliance alone gives no role of a tenant
		return !slices.Contains(w.roles, "admin") && !slices.Contains(w.roles, "owner")
	case "registerApplication", "createApplication":
		return true
	default:
		return slices.Contains(w.roles, "application") // it was granted no such context
	}
}

// filled puts parameters into a path, and returns "" when one is not there.
func filled(path string, with map[string]string) string {
	whole := true
	path = regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(path, func(p string) string {
		value, ok := with[strings.Trim(p, "{}")]
		whole = whole && ok
		return value
	})
	if !whole {
		return ""
	}
	return path
}

var requestIDs = regexp.MustCompile(`"(request_id|instance)":"[^"]*"`)

// call makes a request and returns its status, and its body without the request's id.
func call(t *testing.T, client *http.Client, d *daemon, w *walker, method, path string, body []byte) (int, string) {
	t.Helper()
	if strings.HasPrefix(path, "/api/v1/key-usage") || strings.HasSuffix(path, "/public") {
		body = nil
	}
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode < 300 {
		return answer.StatusCode, ""
	}
	return answer.StatusCode, requestIDs.ReplaceAllString(string(text), "")
}

// candidates are texts of which some one fits each pattern of the document.
var candidates = []string{"walk-sample", "viewer", "AAAA", "2031-01-01T00:00:00Z", "BBBB-BBBB", "enforce"}

// sample is the smallest value that a schema allows.
func sample(t *testing.T, name string, s *jsonschema.Schema) any {
	t.Helper()
	for s.Ref != nil {
		s = s.Ref
	}
	switch {
	case name == "roles":
		return []string{string(directory.Viewer)}
	case s.Enum != nil && len(s.Enum.Values) > 0:
		return s.Enum.Values[0]
	case s.Types == nil:
		return map[string]any{}
	}
	switch s.Types.ToStrings()[0] {
	case "object":
		out := map[string]any{}
		for _, member := range s.Required {
			out[member] = sample(t, member, s.Properties[member])
		}
		return out
	case "array":
		if s.MinItems != nil && *s.MinItems > 0 {
			return []any{sample(t, "", s.Items2020)}
		}
		return []any{}
	case "boolean":
		return false
	case "integer":
		if s.Minimum != nil && s.Minimum.Sign() > 0 {
			return s.Minimum.Num().Int64()
		}
		return 1
	default:
		if s.ContentEncoding != nil {
			return "AAAA"
		}
		for _, c := range candidates {
			if s.Pattern == nil || s.Pattern.MatchString(c) {
				return c
			}
		}
		t.Fatalf("no candidate fits the pattern of %s: %s", name, s.Pattern)
		return nil
	}
}

// population makes users with every role and every pair of roles in the first tenant, and with the roles of a tenant in a
// second one, an application in each, and nobody.
func population(t *testing.T, d *daemon) []walker {
	t.Helper()
	owner := d.as("owner.token")
	blue := d.with(invited(t, d, created[wire.InvitedTenant](owner, "/api/v1/tenants", wire.CreateTenantRequest{Name: "blue"}).InvitationCode, "blue-owner"))
	for _, c := range []*caller{owner, blue} {
		created[wire.Context](c, "/api/v1/contexts", wire.CreateContextRequest{Name: "walk-" + tenantOf(c)})
	}
	mine, theirs := belongings(t, owner), belongings(t, blue)
	walkers := []walker{
		{name: "nobody"},
		{name: "application", token: d.file("app.token"), roles: []string{"application"}, tenant: "default", foreign: theirs},
	}
	add := func(c *caller, tenant string, foreign map[string]string, roles ...directory.Role) {
		w := walker{name: fmt.Sprint(roles), tenant: tenant, foreign: foreign}
		for _, r := range roles {
			w.roles = append(w.roles, string(r))
		}
		code := created[wire.InvitationResponse](c, "/api/v1/invitations", wire.CreateInvitationRequest{Roles: w.roles}).Code
		w.token = invited(t, d, code, "walk-"+strings.Join(w.roles, "-"))
		walkers = append(walkers, w)
	}
	for i, r := range directory.Roles {
		add(owner, "default", theirs, r)
		for _, other := range directory.Roles[:i] {
			add(owner, "default", theirs, r, other)
		}
	}
	for _, r := range directory.Roles[:4] {
		add(blue, "blue", mine, r)
	}
	return walkers
}

// invited accepts an invitation and returns the session's token. Of strangers, an address may only so many a second.
func invited(t *testing.T, d *daemon, code, name string) string {
	t.Helper()
	body := wire.AcceptInvitationRequest{Code: code, Name: name, Password: "correct horse battery"}
	for {
		status, _, raw := d.with("").do(http.MethodPost, "/api/v1/auth/invitations/accept", body)
		if status == http.StatusTooManyRequests {
			time.Sleep(time.Second)
			continue
		}
		var session wire.SessionResponse
		if err := json.Unmarshal(raw, &session); status != http.StatusOK || err != nil {
			t.Fatalf("accept an invitation: %d, %v", status, err)
		}
		return session.Token
	}
}

func tenantOf(c *caller) string {
	return ask[wire.WhoAmIResponse](c, http.MethodGet, "/api/v1/session", nil).Tenant
}

// belongings makes one of everything in a tenant, and returns the path parameters that name it.
func belongings(t *testing.T, c *caller) map[string]string {
	t.Helper()
	name := "walk-" + tenantOf(c)
	created[wire.Key](c, "/api/v1/keys", wire.CreateKeyRequest{Name: name, Context: name, Algorithm: "Ed25519"})
	created[wire.Policy](c, "/api/v1/policies", wire.CreatePolicyRequest{Name: name, PolicySpec: wire.PolicySpec{Expression: "true", Enforcement: "none"}})
	app := created[wire.IssuedApplication](c, "/api/v1/applications", wire.CreateApplicationRequest{Name: name})
	user := created[wire.User](c, "/api/v1/users", wire.CreateUserRequest{Name: name, Roles: []string{"viewer"}})
	invitation := created[wire.InvitationResponse](c, "/api/v1/invitations", wire.CreateInvitationRequest{Roles: []string{"viewer"}})
	pair := created[wire.ImportResponse](c, "/api/v1/key-imports", wire.CreateImportRequest{Protection: "host"})
	sessions := ask[wire.SessionsResponse](c, http.MethodGet, "/api/v1/sessions", nil)
	return map[string]string{
		"context": name, "key": name, "policy": name, "application": app.Application.ID, "user": user.ID, "import": pair.ImportID,
		"version":    ask[wire.ContextDetail](c, http.MethodGet, "/api/v1/contexts/"+name, nil).Versions[0].KeyID,
		"invitation": invitation.ID, "session": sessions.Sessions[0].ID,
	}
}
