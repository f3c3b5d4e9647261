package api_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/api/auth"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

const (
	applicationPath = "/api/v1/applications/" + appID
	registerPath    = "/api/v1/applications/sdk/register"
)

// certificateOf returns a client certificate in PEM and the SHA-256 of its key.
var certificateOf = sync.OnceValues(func() (string, []byte) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	if err != nil {
		panic(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		panic(err)
	}
	hash := sha256.Sum256(spki)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hash[:]
})

// applicationCases are the use cases of applications.go and apptokens.go, and what they can fail with.
func applicationCases(f *fixture) (cases map[string]useCase, fail map[string]map[int]fault.Kind) {
	grants := []wire.Grant{
		{Context: "user-pii", Encrypt: true, Decrypt: true, Compromised: true, Budget: &wire.GrantBudget{Records: 1, Bytes: 1 << 40, Seconds: 3}},
		{Context: "general", Encrypt: true},
	}
	records := ownApplication().Grants
	hash := sha256.Sum256([]byte("key"))
	app := wire.Application{
		ID: appID, Name: "shop", Team: "t", Environment: "e", Description: "d", Status: "active", Grants: grants, KeyID: "appkey_1",
		PublicKey: []byte("public"), CertificateKey: hex.EncodeToString(hash[:]), CreatedBy: "user_1", CreatedAt: newYearText("00"),
		TokensRevokedAt: newYearText("00"),
	}
	disabled := app
	disabled.Status = "disabled"
	raw := base64.StdEncoding.EncodeToString(f.engine.app.PublicKey)
	clientCertificate, certificateKey := certificateOf()
	key := wire.ApplicationKey{PublicKey: raw, ClientCertificate: clientCertificate}
	own := engine.ApplicationKey{PublicKey: f.engine.app.PublicKey, Certificate: certificateKey}
	previous := grants[1:]
	cases = map[string]useCase{
		"listApplications": {"GET", "/api/v1/applications", nil, nil, 200, "", wire.ApplicationsResponse{Applications: []wire.Application{app}}},
		"readApplication":  {"GET", applicationPath, nil, appID, 200, "", app},
		"createApplication": {
			"POST", "/api/v1/applications", wire.CreateApplicationRequest{
				Name: "shop", Team: "t", Environment: "e", Description: "d", Grants: grants, ApplicationKey: key,
			},
			engine.ApplicationSpec{Name: "shop", Team: "t", Environment: "e", Description: "d", Grants: records, Key: own},
			201, applicationPath, wire.IssuedApplication{Application: app},
		},
		"changeApplication": {
			"PUT", applicationPath, wire.ChangeApplicationRequest{Team: "t", Description: "d", Grants: grants, PreviousGrants: &previous},
			[]any{appID, engine.ApplicationChange{Team: "t", Description: "d", Grants: records, Before: records[1:]}}, 200, "", app,
		},
		"disableApplication": {"POST", applicationPath + "/disable", struct{}{}, []any{appID, directory.Disabled}, 200, "", disabled},
		"enableApplication":  {"POST", applicationPath + "/enable", struct{}{}, []any{appID, directory.Enabled}, 200, "", app},
		"deleteApplication":  {"DELETE", applicationPath, struct{}{}, appID, 200, "", struct{}{}},
		"applicationTokens": {"GET", applicationPath + "/tokens", nil, appID, 200, "", wire.TokensResponse{
			Algorithm: "EdDSA", KeyID: "appkey_1", AccessSeconds: 3600, RefreshSeconds: 30 * 24 * 3600, TokensRevokedAt: newYearText("00"),
			RefreshFamilies: []wire.TokensFamily{{CreatedAt: newYearText("00"), ExpiresAt: newYearText("00"), Refreshed: 7}},
		}},
		"rotateTokens": {
			"POST", applicationPath + "/tokens/rotate", key, []any{appID, own}, 200, "", wire.IssuedApplication{Application: app},
		},
		"revokeTokens": {"POST", applicationPath + "/tokens/revoke", struct{}{}, appID, 200, "", struct{}{}},
		"verifyToken": {
			"POST", "/api/v1/auth/verify", wire.TokenVerifyRequest{AccessToken: "a.b.c"}, nil, 200, "", wire.TokenVerifyResponse{},
		},
		"revokeToken": {
			"POST", "/api/v1/auth/revoke", wire.TokenRevokeRequest{Token: "a.b.c"}, engine.Revocation{}, 200, "", struct{}{},
		},
	}
	fail = map[string]map[int]fault.Kind{
		"listApplications": reading, "readApplication": finding, "applicationTokens": finding, "createApplication": changingOne,
		"verifyToken": reading, "revokeToken": {500: fault.Internal, 503: fault.LedgerUnavailable},
		"registerApplication": {
			403: fault.Forbidden, 404: fault.NotFound, 409: fault.Conflict, 429: fault.RateLimited, 500: fault.Internal, 503: fault.NotLeader,
		},
	}
	for _, id := range []string{"changeApplication", "disableApplication", "enableApplication", "deleteApplication", "rotateTokens", "revokeTokens"} {
		fail[id] = changingOne
	}
	return cases, fail
}

// TestIssuedTokens: a new application whose key is kept here has tokens that work, as has one whose key was rotated.
func TestIssuedTokens(t *testing.T) {
	f := newFixture(t)
	f.engine.keepsKeys, f.engine.app.SealedKey = true, []byte("sealed")
	for path, status := range map[string]int{"/api/v1/applications": 201, applicationPath + "/tokens/rotate": 200} {
		body := ""
		if status == 201 {
			body = `{"name":"shop"}`
		}
		a := f.do(t, "POST", path, body)
		var got wire.IssuedApplication
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != status {
			t.Fatalf("%s: %s: %v", path, a.Status, err)
		}
		if !got.Application.KeptHere || got.TokenType != "bearer" || got.ExpiresAt == "" || got.RefreshExpiresAt == "" {
			t.Errorf("%s: %+v", path, got.Application)
		}
		f.token = got.AccessToken
		if a := f.do(t, "GET", "/api/v1/contexts", ""); a.StatusCode != 200 {
			t.Errorf("%s: the access token: %s", path, a.Status)
		}
		if a := f.do(t, "POST", refreshPath, `{"refresh_token":"`+got.RefreshToken+`"}`); a.StatusCode != 200 {
			t.Errorf("%s: the refresh token: %s", path, a.Status)
		}
	}
	// A disabled one gets none.
	off := *f.engine.app
	off.Status, f.engine.keepsKeys = directory.Disabled, false
	f.engine.rotated = &off
	a := f.do(t, "POST", applicationPath+"/tokens/rotate", "")
	if a.StatusCode != 200 || strings.Contains(string(a.body), "_token") {
		t.Errorf("disabled: %s", a.Status)
	}
}

// TestRegister reads the whole answer: a new application, one that exists, and one that asks for more than it has.
func TestRegister(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		body    string
		missing []string
		want    engine.RegisterSpec
		isNew   bool
		message string
	}{
		"new": {`{"app_name":"shop"}`, nil, engine.RegisterSpec{Name: "shop"}, true, "the application was registered"},
		"known": {
			`{"app_name":"shop","team":"t","environment":"e","contexts":["a","b"],"description":"d"}`, []string{},
			engine.RegisterSpec{Name: "shop", Team: "t", Environment: "e", Contexts: []string{"a", "b"}, Description: "d"}, false,
			"the application exists: it has new tokens, and those that it had go on working",
		},
		"known, asks for more": {
			`{"app_name":"shop"}`, []string{"a", "b"}, engine.RegisterSpec{Name: "shop"}, false,
			"the application exists: it has new tokens, and those that it had go on working; it may not use a, b: ask an administrator to grant that",
		},
	} {
		f.engine.missing = c.missing
		a := f.do(t, "POST", registerPath, c.body)
		var got wire.RegisterResponse
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %s: %s", name, a.Status, err)
		}
		if !reflect.DeepEqual(f.engine.got, c.want) {
			t.Errorf("%s: the engine was asked for %+v", name, f.engine.got)
		}
		if got.AppID != appID || got.AppName != "shop" || got.IsNew != c.isNew || got.Message != c.message ||
			!reflect.DeepEqual(got.Contexts, []string{"user-pii"}) {
			t.Errorf("%s: new %v, %q, contexts %v", name, got.IsNew, got.Message, got.Contexts)
		}
		if a := f.do(t, "POST", refreshPath, `{"refresh_token":"`+got.RefreshToken+`"}`); a.StatusCode != 200 {
			t.Errorf("%s: the refresh token: %s", name, a.Status)
		}
	}
}

// TestRegisterHasNoOtherMethod: the row that the router has no place for behaves like any other.
func TestRegisterHasNoOtherMethod(t *testing.T) {
	f := newFixture(t)
	for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS"} {
		a := f.do(t, method, registerPath, "")
		if a.StatusCode != 405 || a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %s, Allow %q", method, a.Status, a.Header.Get("Allow"))
		}
	}
	for _, path := range []string{registerPath + "/", "/api/v1/applications/sdk", "/api/v1/applications/sdk//register", "/api/v1/applications/SDK/register"} {
		if a := f.do(t, "POST", path, `{"app_name":"a"}`); a.StatusCode != 404 && a.StatusCode != 405 {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
}

func TestVerifyToken(t *testing.T) {
	f := newFixture(t)
	verify := func(token string) string {
		t.Helper()
		a := f.do(t, "POST", "/api/v1/auth/verify", `{"access_token":"`+token+`"}`)
		if a.StatusCode != 200 {
			t.Fatalf("%s: %s", a.Status, a.body)
		}
		return string(a.body)
	}
	var got wire.TokenVerifyResponse
	if err := json.Unmarshal([]byte(verify(f.token)), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Valid || got.AppID != appID || got.AppName != "shop" || !reflect.DeepEqual(got.Contexts, []string{"user-pii"}) || got.ExpiresAt == "" {
		t.Errorf("%+v", got)
	}
	if f.engine.got != appID {
		t.Errorf("the engine was asked about %v", f.engine.got)
	}
	refresh, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.engine.app)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"forged": f.token[:len(f.token)-2] + "AA", "refresh token": refresh, "empty": "", "session": auth.SessionPrefix + strings.Repeat("A", 43),
	} {
		if body := verify(token); body != `{"valid":false}` {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestRevokeToken ends a family and a session, and answers about everything else as if it had.
func TestRevokeToken(t *testing.T) {
	f := newFixture(t)
	refresh, _, err := f.issuer.StartRefresh(t.Context(), &engine.Call{}, f.engine.app)
	if err != nil {
		t.Fatal(err)
	}
	session, hash := auth.NewSessionToken()
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	for name, c := range map[string]struct {
		token string
		check func(engine.Revocation) bool
	}{
		"refresh": {refresh, func(r engine.Revocation) bool { return r.Tenant == "tenant-1" && strings.HasPrefix(r.Family, "fam_") }},
		"session": {session, func(r engine.Revocation) bool { return r.Session == hash && r.Family == "" }},
		"unknown": {"hello", func(r engine.Revocation) bool { return r == engine.Revocation{} }},
		"access":  {f.token, func(r engine.Revocation) bool { return r == engine.Revocation{} }},
	} {
		a := f.do(t, "POST", "/api/v1/auth/revoke", `{"token":"`+c.token+`"}`, anonymous)
		got, ok := f.engine.got.(engine.Revocation)
		if a.StatusCode != 200 || string(a.body) != "{}" || !ok || !c.check(got) {
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
	}
}

func TestBadKeysOfApplications(t *testing.T) {
	f := newFixture(t)
	pemOf := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	spki := func(public any) string {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return pemOf("PUBLIC KEY", der)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := spki(ed25519.PublicKey(f.engine.app.PublicKey))
	expired := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)}
	valid := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certify := func(template *x509.Certificate, public, private any) string {
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		return pemOf("CERTIFICATE", der)
	}
	certificate := certify(valid, ec.Public(), ec)
	for name, c := range map[string]struct{ field, text, says string }{
		"key in PEM":             {"public_key", good, ""},
		"key with a line more":   {"public_key", good + "\n", ""},
		"two keys":               {"public_key", good + good, "is neither"},
		"key of another kind":    {"public_key", spki(ec.Public()), "is neither"},
		"short key":              {"public_key", base64.StdEncoding.EncodeToString(make([]byte, 31)), "is neither"},
		"long key":               {"public_key", base64.StdEncoding.EncodeToString(make([]byte, 33)), "is neither"},
		"key in hex":             {"public_key", hex.EncodeToString(make([]byte, 32)), "is neither"},
		"certificate as key":     {"public_key", certificate, "is neither"},
		"half a PEM":             {"public_key", good[:30], "is neither"},
		"certificate":            {"client_certificate", certificate, ""},
		"key as certificate":     {"client_certificate", good, "not one PEM block"},
		"chain":                  {"client_certificate", certificate + certificate, "not one PEM block"},
		"no certificate":         {"client_certificate", pemOf("CERTIFICATE", []byte("x")), "is not a certificate"},
		"expired certificate":    {"client_certificate", certify(expired, ec.Public(), ec), "has expired"},
		"certificate, weak key":  {"client_certificate", certify(valid, weak.Public(), weak), "2048"},
		"certificate in base64":  {"client_certificate", base64.StdEncoding.EncodeToString([]byte("x")), "not one PEM block"},
		"certificate, too long":  {"client_certificate", strings.Repeat("a", 16<<10+1), "is longer than"},
		"key that is only blank": {"public_key", " ", "is neither"},
	} {
		body, err := json.Marshal(map[string]string{"name": "shop", c.field: c.text})
		if err != nil {
			t.Fatal(err)
		}
		a := f.do(t, "POST", "/api/v1/applications", string(body))
		switch {
		case c.says == "" && a.StatusCode != 201:
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		case c.says != "" && (a.StatusCode != 400 || !strings.Contains(string(a.body), c.says) || !strings.Contains(string(a.body), c.field)):
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
	}
}

// TestClientCertificates authenticates with a certificate where the node asks for one, and only without a token.
func TestClientCertificates(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	for _, asks := range []bool{true, false} {
		t.Run(fmt.Sprintf("asks %v", asks), func(t *testing.T) {
			f := newFixture(t, func(c *api.Config) {
				c.TLS = api.TLSConfig(false, asks, c.TLS.GetCertificate)
			})
			f.engine.app.Certificate = hash[:]
			client := f.newClient(t, true)
			transport := &http.Transport{TLSClientConfig: &tls.Config{
				RootCAs: f.roots, MinVersion: tls.VersionTLS13,
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: ec}},
			}}
			t.Cleanup(transport.CloseIdleConnections)
			client.Transport = transport
			get := func(want int, edit ...func(*http.Request)) answer {
				t.Helper()
				a := send(t, client, f.request(t, "POST", encryptPath, goodEncrypt, append([]func(*http.Request){
					func(r *http.Request) { r.Header.Del("Authorization") },
				}, edit...)...))
				if a.StatusCode != want {
					t.Errorf("%s, want %d: %s", a.Status, want, a.body)
				}
				return a
			}
			if !asks {
				get(401)
				return
			}
			get(200)
			last := f.engine.calls[len(f.engine.calls)-1].Subject
			if last.Kind != policy.KindApplication || last.ID != appID || !last.Certified || last.Credential != "kid-1" {
				t.Errorf("the subject is %+v", last)
			}
			get(401, func(r *http.Request) { r.Header.Set("Authorization", "Bearer hello") }) // a bad token is not made good
			get(403, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
			get(403, func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") })
			f.engine.app.Certificate = make([]byte, 32)
			get(401)
		})
	}
}
