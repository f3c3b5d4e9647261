package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"cryptoserve/api/auth"
	"cryptoserve/api/signin"
	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// SignInEngine makes sessions of people who prove who they are.
type SignInEngine interface {
	Login(ctx context.Context, call *engine.Call, in *engine.LoginRequest) (engine.SessionInfo, error)
	AcceptInvitation(ctx context.Context, call *engine.Call, in *engine.AcceptRequest) (engine.SessionInfo, error)
	SignIn(ctx context.Context, call *engine.Call, who *engine.Identity, session [32]byte) (engine.SessionInfo, error)
	CreateDevice(ctx context.Context, call *engine.Call, hash [32]byte, client string) (*directory.Device, error)
	Device(ctx context.Context, call *engine.Call, code string) (*directory.Device, error)
	DecideDevice(ctx context.Context, call *engine.Call, code string, approve bool) (*directory.Device, error)
	RedeemDevice(ctx context.Context, call *engine.Call, hash, session [32]byte) (engine.SessionInfo, error)
	// VisitNode refuses those who ask too often; Note records what the API did by itself.
	VisitNode(ctx context.Context, call *engine.Call, action policy.Action, resource string) error
	Note(ctx context.Context, call *engine.Call, action policy.Action, resource string, outcome error) error
}

// SignIn lets people prove who they are at an identity provider. It is signin.SignIn.
type SignIn interface {
	Providers() []signin.Info
	Begin(ctx context.Context, provider string, o signin.BeginOptions) (redirectURL string, state signin.State, err error)
	Finish(ctx context.Context, provider string, query url.Values, cookie string) (who signin.Identity, redirect string, err error)
}

var (
	errNoUser     = fault.New(fault.NotFound, "api.user", "there is no such user")
	errNoProvider = fault.New(fault.NotFound, "api.sign-in", "there is no such sign-in provider")
	errNoCode     = fault.New(fault.Unauthenticated, "api.sign-in", "the code is not one")
)

const (
	loginPath = "/auth/login/"
	// CallbackPath is where identity providers send people back to; the provider's name follows.
	CallbackPath = "/auth/callback/"
	// devicePath is where people type a user code.
	devicePath = "/device"
)

// signInRoutes lead to a session.
func signInRoutes(row func(method, path string, action policy.Action, handle func(*Server, *exchange) error) route) []route {
	open := func(r route) route {
		r.access = anybody
		return r
	}
	browser := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		r := open(row(http.MethodGet, path, action, handle))
		r.query = true
		// The provider is asked first, then the cluster.
		r.timeout += signin.DefaultTimeout
		return r
	}
	const v1 = "/api/v1/auth/"
	return []route{
		open(secretly(row("POST", v1+"login", policy.Login, (*Server).login))),
		open(secretly(row("POST", v1+"invitations/accept", policy.AcceptInvitation, (*Server).acceptInvitation))),
		open(row("GET", v1+"providers", policy.ListProviders, (*Server).providers)),
		browser(loginPath+":provider", policy.BeginSignIn, (*Server).beginSignIn),
		browser(CallbackPath+":provider", policy.FinishSignIn, (*Server).finishSignIn),
		open(secretly(row("POST", v1+"device", policy.CreateDevice, (*Server).createDevice))),
		open(secretly(row("POST", v1+"device/token", policy.RedeemDevice, (*Server).redeemDevice))),
		row("POST", v1+"device/decide", policy.DecideDevice, (*Server).decideDevice),
		row("GET", "/api/v1/device-requests/:code", policy.DecideDevice, (*Server).device),
	}
}

// answerSession gives a program the token of a new session.
func (x *exchange) answerSession(token string, info engine.SessionInfo) error {
	return x.answer(wire.SessionResponse{
		Token: token, ExpiresAt: milliseconds(info.Record.ExpiresAt), User: wireUser(info.User),
	})
}

// answerBoth gives it to a program and a browser.
func (x *exchange) answerBoth(token string, info engine.SessionInfo) error {
	x.setSession(token, time.UnixMilli(info.Record.ExpiresAt))
	return x.answerSession(token, info)
}

var loginFields = []field{
	{name: "tenant", kind: text, max: longestName},
	{name: "username", kind: text, required: true, max: directory.UserNameMax},
	{name: "password", kind: hidden, required: true, max: engine.PasswordMax},
}

// login always makes a new session, whatever cookie comes with the request. A page of another site must not sign its visitor in
// as somebody else.
func (s *Server) login(x *exchange) error {
	if err := x.json.object(x.body, loginFields); err != nil {
		return err
	}
	if err := x.sameOrigin(); err != nil {
		return err
	}
	v := &x.json.values
	token, hash := auth.NewSessionToken()
	info, err := s.config.Engine.Login(x.r.Context(), &x.call, &engine.LoginRequest{
		Tenant: v[0].text, Name: v[1].text, Password: v[2].bytes, Session: hash,
	})
	if err != nil {
		return err
	}
	return x.answerBoth(token, info)
}

// longestCode is above the length of every code that this node makes.
const longestCode = 64

var acceptFields = []field{
	{name: "code", kind: text, required: true, max: longestCode},
	{name: "name", kind: text, required: true, max: directory.UserNameMax},
	{name: "password", kind: hidden, required: true, max: engine.PasswordMax},
}

func (s *Server) acceptInvitation(x *exchange) error {
	if err := x.json.object(x.body, acceptFields); err != nil {
		return err
	}
	if err := x.sameOrigin(); err != nil {
		return err
	}
	v := &x.json.values
	code, ok := auth.HashInvite(v[0].text)
	if !ok {
		return errNoCode
	}
	token, hash := auth.NewSessionToken()
	info, err := s.config.Engine.AcceptInvitation(x.r.Context(), &x.call, &engine.AcceptRequest{
		Invitation: code, Name: v[1].text, Password: v[2].bytes, Session: hash,
	})
	if err != nil {
		return err
	}
	return x.answerBoth(token, info)
}

func (s *Server) providers(x *exchange) error {
	if err := s.config.Engine.VisitNode(x.r.Context(), &x.call, policy.ListProviders, ""); err != nil {
		return err
	}
	answer := wire.ProvidersResponse{Providers: []wire.Provider{}}
	if s.config.SignIn != nil {
		for _, p := range s.config.SignIn.Providers() {
			answer.Providers = append(answer.Providers, wire.Provider{
				Name: p.Name, Preset: string(p.Preset), DisplayName: p.DisplayName, LoginPath: loginPath + p.Name,
			})
		}
	}
	if err := s.config.Engine.Note(x.r.Context(), &x.call, policy.ListProviders, "", nil); err != nil {
		return err
	}
	return x.answer(answer)
}

// redirect sends a browser elsewhere.
func (x *exchange) redirect(status int, to string) error {
	x.status = status
	x.w.Header()["Location"] = []string{to}
	return x.done(nil)
}

// beginSignIn sends a browser to an identity provider. The query may hold where it goes afterwards, and an invitation.
func (s *Server) beginSignIn(x *exchange) error {
	provider := x.params.ByName("provider")
	options, err := beginOptions(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	if err := s.config.Engine.VisitNode(x.r.Context(), &x.call, policy.BeginSignIn, provider); err != nil {
		return err
	}
	if s.config.SignIn == nil {
		return errNoProvider
	}
	to, state, err := s.config.SignIn.Begin(x.r.Context(), provider, options)
	if err := s.config.Engine.Note(x.r.Context(), &x.call, policy.BeginSignIn, provider, err); err != nil {
		return err
	}
	http.SetCookie(x.w, state.Cookie())
	return x.redirect(http.StatusFound, to)
}

func beginOptions(raw string) (signin.BeginOptions, error) {
	var o signin.BeginOptions
	query, err := url.ParseQuery(raw)
	if err != nil {
		return o, &fault.Error{Kind: fault.Malformed, Op: "api.query", Detail: "the query cannot be read"}
	}
	for name, values := range query {
		switch {
		case len(values) != 1:
			return o, malformedField(printable([]byte(name)), "appears more than once")
		case name == "redirect":
			o.Redirect = values[0]
		case name == "invitation":
			if _, ok := auth.HashInvite(values[0]); !ok {
				return o, malformedField(name, "is not the code of an invitation")
			}
			o.Invitation = values[0]
		default:
			return o, malformedField(printable([]byte(name)), "is not known")
		}
	}
	return o, nil
}

// finishSignIn takes a browser back from an identity provider and gives it a session. What its query holds beyond what is
// needed is the provider's business.
func (s *Server) finishSignIn(x *exchange) error {
	http.SetCookie(x.w, signin.ClearCookie())
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return &fault.Error{Kind: fault.Malformed, Op: "api.query", Detail: "the query cannot be read"}
	}
	if s.config.SignIn == nil {
		return errNoCode
	}
	cookie := ""
	if list := x.r.CookiesNamed(signin.CookieName); len(list) == 1 {
		cookie = list[0].Value
	}
	found, to, err := s.config.SignIn.Finish(x.r.Context(), x.params.ByName("provider"), query, cookie)
	if err != nil {
		return err
	}
	who := &engine.Identity{
		Provider: found.Provider, Tenant: found.Tenant, Issuer: found.Issuer, Subject: found.Subject, Email: found.Email,
		Name: found.Name, Roles: rolesOf(found.Roles), Rules: s.config.Rules[found.Provider],
	}
	if hash, ok := auth.HashInvite(found.Invitation); ok {
		who.Invitation = &hash
	}
	token, hash := auth.NewSessionToken()
	info, err := s.config.Engine.SignIn(x.r.Context(), &x.call, who, hash)
	if err != nil {
		return err
	}
	x.setSession(token, time.UnixMilli(info.Record.ExpiresAt))
	return x.redirect(http.StatusSeeOther, to)
}

func (s *Server) createDevice(x *exchange) error {
	var in wire.DeviceRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	code, hash := auth.NewDeviceCode()
	d, err := s.config.Engine.CreateDevice(x.r.Context(), &x.call, hash, in.Client)
	if err != nil {
		return err
	}
	base := s.config.BaseURL
	if base == "" {
		base = "https://" + x.r.Host
	}
	return x.answer(wire.DeviceResponse{
		DeviceCode: code, UserCode: d.UserCode, VerificationURI: base + devicePath,
		ExpiresIn: int(engine.DeviceLifetime / time.Second), Interval: int(engine.DeviceInterval / time.Second),
	})
}

var deviceTokenFields = []field{{name: "device_code", kind: text, required: true, max: longestCode}}

func (s *Server) redeemDevice(x *exchange) error {
	if err := x.json.object(x.body, deviceTokenFields); err != nil {
		return err
	}
	code, ok := auth.HashDevice(x.json.values[0].text)
	if !ok {
		return devicePending(engine.ErrDeviceExpired)
	}
	token, hash := auth.NewSessionToken()
	info, err := s.config.Engine.RedeemDevice(x.r.Context(), &x.call, code, hash)
	if err != nil {
		return devicePending(err)
	}
	return x.answerSession(token, info)
}

// devicePending gives the errors of a sign-in that is not a session yet their codes (RFC 8628 section 3.5).
func devicePending(err error) error {
	switch {
	case errors.Is(err, engine.ErrDevicePending):
		return &httpError{
			row{http.StatusBadRequest, "The sign-in waits for a decision", ""}, "authorization-pending", engine.ErrDevicePending,
		}
	case errors.Is(err, engine.ErrDeviceSlowDown):
		return &httpError{row{http.StatusTooManyRequests, "Too many requests", ""}, "slow-down", engine.ErrDeviceSlowDown}
	case errors.Is(err, engine.ErrDeviceExpired):
		return &httpError{row{http.StatusBadRequest, "The sign-in is over", ""}, "expired", engine.ErrDeviceExpired}
	case errors.Is(err, engine.ErrDeviceDenied):
		return &httpError{row{http.StatusForbidden, "The sign-in was denied", ""}, "access-denied", engine.ErrDeviceDenied}
	default:
		return err
	}
}

func wireDevice(d *directory.Device, state string) wire.Device {
	return wire.Device{
		UserCode: d.UserCode, Client: d.Client, Source: d.Source, State: state, CreatedAt: milliseconds(d.CreatedAt),
		ExpiresAt: milliseconds(d.ExpiresAt),
	}
}

func (s *Server) device(x *exchange) error {
	d, err := s.config.Engine.Device(x.r.Context(), &x.call, x.params.ByName("code"))
	if err != nil {
		return err
	}
	return x.answer(wireDevice(d, "pending"))
}

func (s *Server) decideDevice(x *exchange) error {
	var in wire.DecideDeviceRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	d, err := s.config.Engine.DecideDevice(x.r.Context(), &x.call, in.UserCode, in.Approve)
	if err != nil {
		return err
	}
	state := "denied"
	if in.Approve {
		state = "approved"
	}
	return x.answer(wireDevice(d, state))
}
