//go:build !race

package systemtest

import (
	"bytes"
	bigendian "encoding/binary"
	"encoding/json"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cryptoserve/api/apitest"
	"cryptoserve/api/wire"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/envelope"
)

const (
	applicationsPath = "/api/v1/applications"
	registerPath     = applicationsPath + "/sdk/register"
	policiesPath     = "/api/v1/policies"
	versionsPath     = "/api/v1/key-versions/"
	settingsPath     = "/api/v1/settings"
)

// holeKinds are the kinds of contexts that differ in what a frame's header is worth: authenticated, not, and with a key that is
// encapsulated.
var holeKinds = []wire.CreateContextRequest{
	{Name: "plain"},
	{Name: "three", Format: 3, Derivation: "deterministic"},
	{Name: "hybrid", Algorithm: string(algs.AES256GCMMLKEM768)},
}

// holes is a running node with what the attacks start from: a second tenant, and a user of each role.
type holes struct {
	*daemon

	app, owner, blue *caller
	sessions         map[directory.Role]string
}

// in returns the same node and callers for a subtest, which fails by itself.
func (h *holes) in(t *testing.T) *holes {
	d := *h.daemon
	d.t = t
	return &holes{daemon: &d, app: d.with(h.app.token), owner: d.with(h.owner.token), blue: d.with(h.blue.token), sessions: h.sessions}
}

func (h *holes) user(r directory.Role) *caller { return h.with(h.sessions[r]) }

// TestOriginalHoles tries what the public original let pass. Each subtest shows first that what is allowed works, with the same
// bytes or the same request, so that nothing is refused for another reason.
func TestOriginalHoles(t *testing.T) {
	d := dev(t, filepath.Join(t.TempDir(), "D"), "--audit", "relaxed")
	h := &holes{daemon: d, app: d.as("app.token"), owner: d.as("owner.token"), sessions: map[directory.Role]string{}}
	tenant := created[wire.InvitedTenant](h.owner, "/api/v1/tenants", wire.CreateTenantRequest{Name: "blue"})
	h.blue = d.with(invited(t, d, tenant.InvitationCode, "blue-owner"))
	for _, r := range directory.Roles {
		code := created[wire.InvitationResponse](h.owner, "/api/v1/invitations", wire.CreateInvitationRequest{Roles: []string{string(r)}}).Code
		h.sessions[r] = invited(t, d, code, "holes-"+string(r))
	}
	for _, hole := range []struct {
		name string
		try  func(*holes, *testing.T)
	}{
		{"1 scope escape by an edited context", (*holes).scopeEscape},
		{"2 decryption across tenants", (*holes).acrossTenants},
		{"4 key bundle", (*holes).keyBundle},
		{"6 playground", (*holes).playground},
		{"7 policy administration", (*holes).policyAdministration},
		{"8 self-service scope", (*holes).selfService},
		{"refresh token used twice", (*holes).refreshTwice},
		{"revoked access token", (*holes).revokedAccess},
		{"roles are enforced for a viewer", (*holes).viewer},
	} {
		t.Run(hole.name, func(t *testing.T) { hole.try(h.in(t), t) })
	}
	t.Run("3 keys without a secret", keysWithoutSecret)
	t.Run("5 state in memory", stateInMemory)
}

// granted makes an application that may use contexts.
func granted(c *caller, name string, contexts ...string) (wire.IssuedApplication, *caller) {
	c.d.t.Helper()
	in := wire.CreateApplicationRequest{Name: name, Grants: grantsFor(contexts...)}
	app := created[wire.IssuedApplication](c, applicationsPath, in)
	return app, c.d.with(app.AccessToken)
}

func grantsFor(contexts ...string) []wire.Grant {
	grants := []wire.Grant{}
	for _, name := range contexts {
		grants = append(grants, wire.Grant{Context: name, Encrypt: true, Decrypt: true})
	}
	return grants
}

// rewritten replaces text in the header of a frame. The result is a frame that parses: what refuses it has understood it.
func rewritten(t *testing.T, frame []byte, oldNew ...string) []byte {
	t.Helper()
	n := int(bigendian.BigEndian.Uint16(frame))
	header := string(frame[2 : 2+n])
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(header, oldNew[i]) {
			t.Fatalf("%s is not in the header %s", oldNew[i], header)
		}
		header = strings.Replace(header, oldNew[i], oldNew[i+1], 1)
	}
	out := bigendian.BigEndian.AppendUint16(nil, uint16(len(header)))
	out = append(append(out, header...), frame[2+n:]...)
	if _, err := envelope.Parse(out); err != nil {
		t.Fatalf("the edited frame does not parse: %v: %s", err, header)
	}
	return out
}

func opening(context string, frame []byte) wire.DecryptRequest {
	return wire.DecryptRequest{Context: context, Ciphertext: frame}
}

func contextField(name string) string { return `"ctx":"` + name + `"` }

func keyField(id string) string { return `"kid":"` + id + `"` }

// cannotRefresh wants a refresh token to be worth nothing.
func (c *caller) cannotRefresh(token string) {
	c.d.t.Helper()
	c.fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: token})
}

// closedTo wants a frame not to open for a caller by any route that takes frames, with the one answer that tells nothing.
func closedTo(c *caller, context string, frame []byte) {
	c.d.t.Helper()
	for _, path := range []string{decryptPath, cryptoPath + "rewrap"} {
		c.fails(http.StatusBadRequest, "decrypt-failed", http.MethodPost, path, opening(context, frame))
	}
	items := wire.BatchDecryptRequest{Context: context, Items: []wire.BatchDecryptItem{{Ciphertext: frame}}}
	for _, path := range []string{"batch/decrypt", "batch/rewrap"} {
		status, _, raw := c.do(http.MethodPost, cryptoPath+path, items)
		var out wire.BatchDecryptResponse
		if err := json.Unmarshal(raw, &out); err != nil || status != http.StatusOK || out.Succeeded != 0 || len(out.Results) != 1 ||
			out.Results[0].Error == nil || out.Results[0].Error.Code != "decrypt-failed" || out.Results[0].Plaintext != nil {
			c.d.t.Errorf("%s: %d %s, want one item that is decrypt-failed", path, status, raw)
		}
	}
}

// streamClosedTo is closedTo for the frame of a stream.
func streamClosedTo(c *caller, context string, frame []byte) {
	c.d.t.Helper()
	status, raw := c.stream(decryptPath+"?context="+context, frame)
	if status != http.StatusBadRequest || !bytes.Contains(raw, []byte(`"code":"decrypt-failed"`)) {
		c.d.t.Errorf("a stream in %s: %d %s", context, status, raw)
	}
}

// streamed encrypts a stream in a context, and shows that it opens.
func streamed(c *caller, context, text string) []byte {
	c.d.t.Helper()
	status, frame := c.stream(encryptPath+"?context="+context, []byte(text))
	if status != http.StatusOK {
		c.d.t.Fatalf("encrypt a stream in %s: %d %s", context, status, frame)
	}
	if status, raw := c.stream(decryptPath+"?context="+context, frame); status != http.StatusOK || string(raw) != text {
		c.d.t.Errorf("decrypt a stream in %s: %d %q", context, status, raw)
	}
	return frame
}

// scopeEscape: an application that may use one context opened another's frames by writing its own context into them.
func (h *holes) scopeEscape(t *testing.T) {
	var open, all []string
	for _, kind := range holeKinds {
		for _, name := range []string{"closed-" + kind.Name, "open-" + kind.Name} {
			in := kind
			in.Name = name
			created[wire.Context](h.owner, contextsPath, in)
			all = append(all, name)
		}
		open = append(open, "open-"+kind.Name)
	}
	_, narrow := granted(h.owner, "holes-narrow", open...)
	_, wide := granted(h.owner, "holes-wide", all...)
	for _, kind := range holeKinds {
		closed, open := "closed-"+kind.Name, "open-"+kind.Name
		secret, own := wide.encrypt(closed, "secret"), narrow.encrypt(open, "own")
		wide.opens(closed, secret.Ciphertext, "secret")
		narrow.opens(open, own.Ciphertext, "own")

		narrow.fails(http.StatusForbidden, "forbidden", http.MethodPost, decryptPath, opening(closed, secret.Ciphertext))
		closedTo(narrow, open, secret.Ciphertext)
		wide.fails(http.StatusBadRequest, "context-mismatch", http.MethodPost, decryptPath, opening(open, secret.Ciphertext))
		for _, c := range []*caller{narrow, wide} {
			closedTo(c, open, rewritten(t, secret.Ciphertext, contextField(closed), contextField(open)))
			closedTo(c, open, rewritten(t, secret.Ciphertext, contextField(closed), contextField(open), keyField(secret.KeyID), keyField(own.KeyID)))
			closedTo(c, open, rewritten(t, own.Ciphertext, keyField(own.KeyID), keyField(secret.KeyID)))
		}
	}
	stream := streamed(wide, "closed-plain", "secret")
	streamed(narrow, "open-plain", "own")
	streamClosedTo(narrow, "open-plain", stream)
	edited := rewritten(t, stream, contextField("closed-plain"), contextField("open-plain"))
	streamClosedTo(narrow, "open-plain", edited)
	streamClosedTo(wide, "open-plain", edited)
}

// acrossTenants: keys were found by id alone, whosever they were.
func (h *holes) acrossTenants(t *testing.T) {
	var names []string
	for _, kind := range holeKinds {
		in := kind
		in.Name = "cross-" + kind.Name
		created[wire.Context](h.owner, contextsPath, in)
		created[wire.Context](h.blue, contextsPath, in)
		names = append(names, in.Name)
	}
	_, mine := granted(h.owner, "holes-cross", names...)
	_, theirs := granted(h.blue, "holes-cross", names...)
	for _, context := range names {
		a, b := mine.encrypt(context, "mine"), theirs.encrypt(context, "theirs")
		mine.opens(context, a.Ciphertext, "mine")
		theirs.opens(context, b.Ciphertext, "theirs")
		closedTo(theirs, context, a.Ciphertext)
		closedTo(mine, context, b.Ciphertext)
		closedTo(theirs, context, rewritten(t, a.Ciphertext, keyField(a.KeyID), keyField(b.KeyID)))
		closedTo(theirs, context, rewritten(t, b.Ciphertext, keyField(b.KeyID), keyField(a.KeyID)))
	}
	a := streamed(mine, "cross-plain", "mine")
	streamed(theirs, "cross-plain", "theirs")
	streamClosedTo(theirs, "cross-plain", a)

	kem := wire.CreateKeyRequest{Name: "cross-kem", Context: "cross-plain", Algorithm: string(algs.MLKEM768)}
	versions := map[*caller]string{}
	for app, admin := range map[*caller]*caller{mine: h.owner, theirs: h.blue} {
		versions[app] = created[wire.Key](admin, keysPath, kem).KeyID
	}
	sent := ask[wire.EncapsulateResponse](mine, http.MethodPost, cryptoPath+"kem/encapsulate", wire.EncapsulateRequest{Key: "cross-kem"})
	in := wire.DecapsulateRequest{Key: "cross-kem", KeyID: versions[mine], Ciphertext: sent.Ciphertext}
	got := ask[wire.DecapsulateResponse](mine, http.MethodPost, cryptoPath+"kem/decapsulate", in)
	if !bytes.Equal(got.SharedSecret, sent.SharedSecret) {
		t.Error("the tenant's own application gets another secret")
	}
	foreign, _, _ := theirs.do(http.MethodPost, cryptoPath+"kem/decapsulate", in)
	in.KeyID = "key_cross-kem_0000000000000000"
	if absent, _, _ := theirs.do(http.MethodPost, cryptoPath+"kem/decapsulate", in); foreign != absent || foreign < 400 {
		t.Errorf("decapsulate with another tenant's version: %d, with one that nobody has: %d", foreign, absent)
	}
	in.KeyID = ""
	other := ask[wire.DecapsulateResponse](theirs, http.MethodPost, cryptoPath+"kem/decapsulate", in)
	if bytes.Equal(other.SharedSecret, sent.SharedSecret) || other.KeyID != versions[theirs] {
		t.Error("the key of the same name in another tenant gives the same secret")
	}
}

// playground: whoever had signed in decrypted what he liked.
func (h *holes) playground(t *testing.T) {
	frame := h.app.encrypt("user-pii", "secret").Ciphertext
	h.app.opens("user-pii", frame, "secret")
	stream := streamed(h.app, "user-pii", "secret")
	document, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	callers := map[string]*caller{"owner, operator and auditor": h.owner}
	for _, r := range directory.Roles {
		callers[string(r)] = h.user(r)
		ask[wire.WhoAmIResponse](callers[string(r)], http.MethodGet, "/api/v1/session", nil) // the session is a good one
	}
	for name, c := range callers {
		for _, op := range document.Operations() {
			if !strings.HasPrefix(op.Path, cryptoPath) {
				continue
			}
			var body any
			switch op.ID {
			case "encrypt":
				body = wire.EncryptRequest{Context: "user-pii", Plaintext: []byte("x")}
			case "decrypt", "rewrap":
				body = opening("user-pii", frame)
			default:
				schema, err := document.RequestSchema(op.Method, op.Path)
				if err != nil {
					t.Fatal(err)
				}
				body = sample(t, "", schema)
			}
			tried++
			c.fails(http.StatusForbidden, "forbidden", op.Method, op.Path, body)
		}
		for path, data := range map[string][]byte{encryptPath: []byte("x"), decryptPath: stream} {
			if status, raw := c.stream(path+"?context=user-pii", data); status != http.StatusForbidden {
				t.Errorf("stream to %s as %s: %d %s", path, name, status, raw)
			}
		}
		for _, path := range []string{"/api/v1/playground/encrypt", "/api/v1/playground/decrypt", "/api/v1/admin/playground/decrypt"} {
			c.fails(http.StatusNotFound, "not-found", http.MethodPost, path, opening("user-pii", frame))
		}
	}
	if tried < 20*len(callers) {
		t.Errorf("only %d requests were tried", tried)
	}
}

// attempt is a request that some caller may make and others may not.
type attempt struct {
	method, path string
	body         any
}

// refusedThenDone makes the same request first as those who may not, who must get one answer, and then as him who may.
func (a attempt) refusedThenDone(status int, code string, may *caller, others ...*caller) {
	may.d.t.Helper()
	for _, c := range others {
		c.fails(status, code, a.method, a.path, a.body)
	}
	if got, _, raw := may.do(a.method, a.path, a.body); got >= 300 {
		may.d.t.Errorf("%s %s, by one who may: %d %s", a.method, a.path, got, raw)
	}
}

// policyAdministration: every application's token changed everybody's policies.
func (h *holes) policyAdministration(t *testing.T) {
	_, blueApp := granted(h.blue, "holes-policies")
	spec := wire.PolicySpec{Expression: "true", Enforcement: "none"}
	changed := wire.PolicySpec{Expression: "false", Enforcement: "enforce", Contexts: []string{"default"}, Operations: []string{"crypto.encrypt"}}
	mine := policiesPath + "/holes"
	attempt{http.MethodPost, policiesPath, wire.CreatePolicyRequest{Name: "holes", PolicySpec: spec}}.
		refusedThenDone(http.StatusForbidden, "forbidden", h.owner, h.app, blueApp)
	for _, a := range []attempt{
		{http.MethodGet, policiesPath, nil},
		{http.MethodGet, "/api/v1/policy-defaults", nil},
		{http.MethodPost, policiesPath + "/test", wire.PolicyTestRequest{Context: "default", Operation: "crypto.encrypt"}},
		{http.MethodGet, mine, nil},
	} {
		a.refusedThenDone(http.StatusForbidden, "forbidden", h.owner, h.app, blueApp)
	}

	// Another tenant's owner has the same rights, and nothing to use them on.
	attempt{http.MethodGet, mine, nil}.refusedThenDone(http.StatusNotFound, "not-found", h.owner, h.blue)
	theirs := wire.CreatePolicyRequest{Name: "holes-blue", PolicySpec: wire.PolicySpec{Expression: "false", Enforcement: "enforce"}}
	created[wire.Policy](h.blue, policiesPath, theirs)
	if list := ask[wire.PoliciesResponse](h.blue, http.MethodGet, policiesPath, nil); len(list.Policies) != 1 || list.Policies[0].Name != "holes-blue" {
		t.Errorf("another tenant sees %+v", list.Policies)
	}
	h.app.encrypt("default", "x") // their rule, which refuses everything everywhere, is not for this tenant

	attempt{http.MethodPut, mine, changed}.refusedThenDone(http.StatusNotFound, "not-found", h.owner, h.blue)
	if status, _, raw := h.app.do(http.MethodPost, encryptPath, wire.EncryptRequest{Context: "default", Plaintext: []byte("x")}); status != http.StatusForbidden {
		t.Errorf("against a policy of its own tenant: %d %s", status, raw)
	}
	for _, c := range []*caller{h.app, blueApp} {
		c.fails(http.StatusForbidden, "forbidden", http.MethodPut, mine, spec)
		c.fails(http.StatusForbidden, "forbidden", http.MethodDelete, mine, nil)
	}
	attempt{http.MethodDelete, mine, nil}.refusedThenDone(http.StatusNotFound, "not-found", h.owner, h.blue)
	h.app.encrypt("default", "x")
}

// selfService: whoever registered an application gave it what contexts he liked.
func (h *holes) selfService(t *testing.T) {
	created[wire.Context](h.owner, contextsPath, wire.CreateContextRequest{Name: "self-open", SelfService: true})
	created[wire.Context](h.owner, contextsPath, wire.CreateContextRequest{Name: "self-closed"})
	developer := h.user(directory.Developer)
	register := func(name string, contexts ...string) wire.RegisterRequest {
		return wire.RegisterRequest{AppName: name, Contexts: contexts}
	}
	registered := ask[wire.RegisterResponse](developer, http.MethodPost, registerPath, register("self-one", "self-open"))
	app := h.with(registered.AccessToken)
	app.opens("self-open", app.encrypt("self-open", "x").Ciphertext, "x")
	attempt{http.MethodPost, registerPath, register("self-two", "self-open", "self-closed")}.
		refusedThenDone(http.StatusForbidden, "forbidden", h.owner, developer)
	again := ask[wire.RegisterResponse](developer, http.MethodPost, registerPath, register("self-one", "self-open", "self-closed"))
	if again.IsNew || !slices.Equal(again.Contexts, []string{"self-open"}) {
		t.Errorf("registered again, the application may use %v", again.Contexts)
	}

	created[wire.IssuedApplication](developer, applicationsPath, wire.CreateApplicationRequest{Name: "self-three", Grants: grantsFor("self-open")})
	attempt{http.MethodPost, applicationsPath, wire.CreateApplicationRequest{Name: "self-four", Grants: grantsFor("self-closed")}}.
		status(http.StatusForbidden, developer).status(http.StatusCreated, h.owner)

	own := applicationsPath + "/" + registered.AppID
	wider := wire.ChangeApplicationRequest{Grants: grantsFor("self-open", "self-closed")}
	ask[wire.Application](developer, http.MethodPut, own, wire.ChangeApplicationRequest{Description: "mine", Grants: grantsFor("self-open")})
	exempt := wire.ChangeApplicationRequest{Grants: grantsFor("self-open")}
	exempt.Grants[0].Compromised = true
	developer.fails(http.StatusForbidden, "forbidden", http.MethodPut, own, exempt)
	closed := wire.EncryptRequest{Context: "self-closed", Plaintext: []byte("x")}
	refresh := again.RefreshToken
	renewed := func() *caller { // an access token lists contexts: a new one lists what is granted now
		out := ask[wire.RefreshResponse](h.with(""), http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: refresh})
		refresh = out.RefreshToken
		return h.with(out.AccessToken)
	}
	for _, c := range []*caller{developer, app} {
		c.fails(http.StatusForbidden, "forbidden", http.MethodPut, own, wider)
		renewed().fails(http.StatusForbidden, "forbidden", http.MethodPost, encryptPath, closed)
	}
	for _, a := range []attempt{
		{http.MethodPut, own, exempt},
		{http.MethodPost, registerPath, register("self-five", "self-open")},
		{http.MethodPost, applicationsPath, wire.CreateApplicationRequest{Name: "self-six", Grants: grantsFor("self-open")}},
		{http.MethodPost, own + "/tokens/rotate", nil},
		{http.MethodDelete, own, nil},
		{http.MethodPut, contextsPath + "/self-closed", wire.ChangeContextRequest{Revision: 0, SelfService: true}},
	} {
		a.status(http.StatusForbidden, app)
	}
	developer.fails(http.StatusForbidden, "forbidden", http.MethodPut, contextsPath+"/self-closed",
		wire.ChangeContextRequest{SelfService: true})
	demo := ask[wire.ApplicationsResponse](h.owner, http.MethodGet, applicationsPath, nil).Applications
	i := slices.IndexFunc(demo, func(a wire.Application) bool { return a.Name == "demo" })
	developer.fails(http.StatusForbidden, "forbidden", http.MethodPut, applicationsPath+"/"+demo[i].ID,
		wire.ChangeApplicationRequest{Grants: grantsFor("self-open")})

	attempt{http.MethodPut, own, wider}.status(http.StatusOK, h.owner)
	ask[wire.EncryptResponse](renewed(), http.MethodPost, encryptPath, closed)
}

// status makes the request and wants a status.
func (a attempt) status(want int, c *caller) attempt {
	c.d.t.Helper()
	if got, _, raw := c.do(a.method, a.path, a.body); got != want {
		c.d.t.Errorf("%s %s: %d %s, want %d", a.method, a.path, got, raw, want)
	}
	return a
}

// refreshTwice: a refresh token that comes twice is in two hands.
func (h *holes) refreshTwice(t *testing.T) {
	issued, _ := granted(h.owner, "holes-refresh", "general")
	anyone := h.with("")
	next := ask[wire.RefreshResponse](anyone, http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: issued.RefreshToken})
	h.with(next.AccessToken).encrypt("general", "x")
	for _, token := range []string{issued.RefreshToken, next.RefreshToken} {
		anyone.cannotRefresh(token)
	}
	path := applicationsPath + "/" + issued.Application.ID + "/tokens"
	if left := ask[wire.TokensResponse](h.owner, http.MethodGet, path, nil).RefreshFamilies; len(left) != 0 {
		t.Errorf("families left: %+v", left)
	}
}

// revokedAccess: each process of the original kept its own list of what was revoked.
func (h *holes) revokedAccess(*testing.T) {
	issued, app := granted(h.owner, "holes-revoked", "general")
	frame := app.encrypt("general", "x").Ciphertext
	app.opens("general", frame, "x")
	ask[struct{}](h.owner, http.MethodPost, applicationsPath+"/"+issued.Application.ID+"/tokens/revoke", nil)
	app.fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, decryptPath, opening("general", frame))
	h.with("").cannotRefresh(issued.RefreshToken)
	h.app.opens("general", frame, "x") // the frame is not to blame
}

// viewer: the original had roles, and next to no route that asked for one.
func (h *holes) viewer(*testing.T) {
	viewer := h.user(directory.Viewer)
	for _, path := range []string{contextsPath, keysPath, policiesPath, applicationsPath, settingsPath} {
		attempt{http.MethodGet, path, nil}.status(http.StatusOK, viewer)
	}
	context := wire.CreateContextRequest{Name: "viewed"}
	for _, a := range []attempt{
		{http.MethodPost, contextsPath, context},
		{http.MethodPost, contextsPath + "/viewed/rotate", nil},
		{http.MethodPost, contextsPath + "/viewed/disable", nil},
		{http.MethodPost, contextsPath + "/viewed/enable", nil},
		{http.MethodPost, keysPath, wire.CreateKeyRequest{Name: "viewed", Context: "viewed", Algorithm: "Ed25519"}},
		{http.MethodPost, keysPath + "/viewed/rotate", nil},
		{http.MethodPost, policiesPath, wire.CreatePolicyRequest{Name: "viewed", PolicySpec: wire.PolicySpec{Expression: "true", Enforcement: "none"}}},
		{http.MethodDelete, policiesPath + "/viewed", nil},
		{http.MethodPost, applicationsPath, wire.CreateApplicationRequest{Name: "viewed"}},
		{http.MethodPost, registerPath, wire.RegisterRequest{AppName: "viewed"}},
		{http.MethodPost, "/api/v1/users", wire.CreateUserRequest{Name: "viewed", Roles: []string{"viewer"}}},
		{http.MethodGet, "/api/v1/users", nil},
		{http.MethodPost, "/api/v1/invitations", wire.CreateInvitationRequest{Roles: []string{"viewer"}}},
		{http.MethodGet, "/api/v1/tenants", nil},
		{http.MethodPut, settingsPath, wire.ChangeSettingsRequest{Settings: ask[wire.Settings](h.owner, http.MethodGet, settingsPath, nil)}},
	} {
		a.refusedThenDone(http.StatusForbidden, "forbidden", h.owner, viewer)
	}
}

// stateInMemory: the original kept the state of its ceremony, and much else, in memory. Here a node is ended as by a power cut,
// and whatever it said before holds after it.
func stateInMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	app, owner := d.as("app.token"), d.as("owner.token")
	texts := map[string][]byte{}
	for _, context := range []string{"general", "user-pii", "quantum-ready", "payment-data"} {
		texts[context] = app.encrypt(context, "text").Ciphertext
		app.opens(context, texts[context], "text")
	}
	detail := ask[wire.ContextDetail](owner, http.MethodGet, contextsPath+"/payment-data", nil)
	suspended := opening("payment-data", texts["payment-data"])
	ask[wire.Version](owner, http.MethodPost, versionsPath+detail.KeyID+"/suspend", nil)
	delete(texts, "payment-data")
	minimum := ask[wire.EncryptResponse](app, http.MethodPost, encryptPath, wire.EncryptRequest{Context: "internal-logs", Plaintext: []byte("old")})
	ask[wire.RotateResponse](owner, http.MethodPost, contextsPath+"/internal-logs/rotate", nil)
	app.opens("internal-logs", minimum.Ciphertext, "old")
	attempt{http.MethodPut, contextsPath + "/internal-logs/minimum-version", wire.MinimumVersion{Version: 2}}.status(http.StatusOK, owner)

	change := wire.ChangeSettingsRequest{Settings: ask[wire.Settings](owner, http.MethodGet, settingsPath, nil)}
	change.DestroyWaitDays = 9
	change.ContextRate = wire.Rate{PerSecond: 5000, Burst: 9000}
	settings := ask[wire.Settings](owner, http.MethodPut, settingsPath, change)
	revoked, revokedApp := granted(owner, "revoked", "general")
	disabled, disabledApp := granted(owner, "disabled", "general")
	kept, keptApp := granted(owner, "kept", "general")
	for _, c := range []*caller{revokedApp, disabledApp, keptApp} {
		c.opens("general", texts["general"], "text")
	}
	ask[struct{}](owner, http.MethodPost, applicationsPath+"/"+revoked.Application.ID+"/tokens/revoke", nil)
	ask[wire.Application](owner, http.MethodPost, applicationsPath+"/"+disabled.Application.ID+"/disable", nil)
	code := created[wire.InvitationResponse](owner, "/api/v1/invitations", wire.CreateInvitationRequest{Roles: []string{"viewer"}}).Code
	ended := d.with(invited(t, d, code, "ended"))
	ask[wire.WhoAmIResponse](ended, http.MethodGet, "/api/v1/session", nil)
	if status, _, raw := ended.do(http.MethodPost, "/api/v1/auth/logout", nil); status >= 300 {
		t.Fatalf("logout: %d %s", status, raw)
	}

	holds := func(d *daemon) {
		t.Helper()
		app, owner := d.as("app.token"), d.as("owner.token")
		for context, frame := range texts {
			app.opens(context, frame, "text")
			d.with(keptApp.token).opens("general", texts["general"], "text")
		}
		app.fails(http.StatusBadRequest, "decrypt-failed", http.MethodPost, decryptPath, suspended)
		app.fails(http.StatusConflict, "key-state", http.MethodPost, encryptPath,
			wire.EncryptRequest{Context: "payment-data", Plaintext: []byte("x")})
		app.fails(http.StatusBadRequest, "decrypt-failed", http.MethodPost, decryptPath,
			opening("internal-logs", minimum.Ciphertext))
		if got := ask[wire.Settings](owner, http.MethodGet, settingsPath, nil); !reflect.DeepEqual(got, settings) || got.DestroyWaitDays != 9 {
			t.Errorf("settings %+v, want %+v", got, settings)
		}
		for _, c := range []*caller{revokedApp, disabledApp} {
			d.with(c.token).fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, decryptPath,
				opening("general", texts["general"]))
		}
		for _, token := range []string{revoked.RefreshToken, disabled.RefreshToken} {
			d.with("").cannotRefresh(token)
		}
		d.with(ended.token).fails(http.StatusUnauthorized, "unauthenticated", http.MethodGet, "/api/v1/session", nil)
		d.with("").fails(http.StatusUnauthorized, "unauthenticated", http.MethodPost, "/api/v1/auth/invitations/accept",
			wire.AcceptInvitationRequest{Code: code, Name: "ended-again", Password: "correct horse battery"})
	}
	holds(d)
	d.kill()
	d = dev(t, dir)
	holds(d)
	ask[wire.RefreshResponse](d.with(""), http.MethodPost, refreshPath, wire.RefreshRequest{RefreshToken: kept.RefreshToken})
	ask[wire.Version](d.as("owner.token"), http.MethodPost, versionsPath+detail.KeyID+"/resume", nil)
	d.as("app.token").opens("payment-data", suspended.Ciphertext, "text")
	d.stop()
	verifyAudit(t, dir)
}
