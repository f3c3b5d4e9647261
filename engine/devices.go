package engine

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

// How long a sign-in without a browser may take, and how often its program may ask (RFC 8628 section 3.2).
const (
	DeviceLifetime = 10 * time.Minute
	DeviceInterval = 5 * time.Second
)

// DeviceClientMax is the longest name that a program may call itself, in bytes.
const DeviceClientMax = 64

// How a sign-in without a browser can stand when its program asks (RFC 8628 section 3.5).
var (
	ErrDevicePending  = fault.New(fault.Conflict, "engine.device", "nobody has decided about the sign-in yet")
	ErrDeviceSlowDown = &fault.Error{
		Kind: fault.RateLimited, Op: "engine.device", Detail: "the program asks too often", RetryAfter: DeviceInterval,
	}
	ErrDeviceExpired = fault.New(fault.Unauthenticated, "engine.device", "the sign-in is unknown, used or over: begin it again")
	ErrDeviceDenied  = fault.New(fault.Forbidden, "engine.device", "the sign-in was denied")
)

// pollRate lets a program be a second too early, and its first question come at once.
var pollRate = limit.Rate{PerSecond: 1 / (DeviceInterval - time.Second).Seconds(), Burst: 2}

// userCodeLetters are those that RFC 8628 section 6.1 advises: no vowels, so no words, and none that look like digits. Eight of
// them are 34 bits.
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8
)

// newUserCode returns a code as people read it: XXXX-XXXX.
func newUserCode() string {
	code := make([]byte, 0, userCodeLength)
	var b [1]byte
	for len(code) < userCodeLength {
		rand.Read(b[:])
		if n := int(b[0]); n < 256/len(userCodeLetters)*len(userCodeLetters) { // all letters are as likely
			code = append(code, userCodeLetters[n%len(userCodeLetters)])
		}
	}
	return hyphenated(string(code))
}

func hyphenated(code string) string { return code[:userCodeLength/2] + "-" + code[userCodeLength/2:] }

// readUserCode reads a code as people type it: in any case, with or without the hyphen. It reports false for what is none.
func readUserCode(text string) (string, bool) {
	code := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(text))
	if len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
		return "", false
	}
	return hyphenated(code), true
}

// CreateDevice begins a sign-in of a program without a browser. Hash is the SHA-256 of its device code.
func (e *Engine) CreateDevice(ctx context.Context, c *Call, hash [32]byte, client string) (*directory.Device, error) {
	now := e.now()
	d := &directory.Device{
		Hash: hash, UserCode: newUserCode(), Client: client, Source: c.Source, CreatedAt: now.UnixMilli(),
		ExpiresAt: now.Add(DeviceLifetime).UnixMilli(), State: directory.DevicePending,
	}
	r := c.begin(policy.CreateDevice)
	r.Resource = SessionID(hash)
	if err := e.visit(c); err != nil {
		return nil, e.finishGuest(c, &r, err)
	}
	if client != "" && !validName(client, DeviceClientMax) {
		return nil, e.finish(c, &r, malformedField("client", "1 to 64 bytes of text, without control characters"))
	}
	err := e.propose(ctx, c, &r, command.CreateDevice{Device: *d})
	if fault.Of(err) == fault.Conflict { // the code of another sign-in, once in many millions
		err = fault.Wrap(fault.Unavailable, "engine.device", "try again", err)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Device shows a signed-in user what waits under a user code, before he decides.
func (e *Engine) Device(_ context.Context, c *Call, code string) (*directory.Device, error) {
	r := c.begin(policy.DecideDevice)
	u, err := e.self(c, policy.DecideDevice)
	var d *directory.Device
	if err == nil {
		d, err = e.waiting(c, u, forReadingCode, code)
	}
	if d != nil {
		r.Resource = SessionID(d.Hash)
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return d, nil
}

// waiting returns the sign-in that waits under a user code. Codes are short enough to be guessed, so tries are bounded.
func (e *Engine) waiting(c *Call, u *directory.User, p purpose, code string) (*directory.Device, error) {
	who := userGuests(p, c.Source, u.ID)
	if err := e.try(who...); err != nil {
		return nil, err
	}
	var d *directory.Device
	if code, ok := readUserCode(code); ok {
		d = e.ledger.View().DeviceByUserCode(code)
	}
	if d == nil || d.State != directory.DevicePending || d.ExpiresAt <= e.now().UnixMilli() {
		e.failed(who...)
		return nil, fault.New(fault.NotFound, "engine.device", "no sign-in waits under this code")
	}
	e.succeeded(who...)
	return d, nil
}

// DecideDevice approves or denies the sign-in that waits under a user code. Approved, it becomes a session of the user.
func (e *Engine) DecideDevice(ctx context.Context, c *Call, code string, approve bool) (*directory.Device, error) {
	r := c.begin(policy.DecideDevice)
	var d *directory.Device
	err := e.changeAs(ctx, c, &r, policy.DecideDevice, func(u *directory.User) (command.Command, error) {
		var err error
		if d, err = e.waiting(c, u, forDecidingCode, code); err != nil {
			return nil, err
		}
		r.Resource, r.Cause = SessionID(d.Hash), "denied"
		if approve {
			r.Cause = "approved"
		}
		return command.DecideDevice{
			UserCode: d.UserCode, Tenant: u.Tenant, User: u.ID, Approve: approve, At: e.now().UnixMilli(),
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// RedeemDevice gives the program that has the device code a session, once somebody has approved its sign-in.
func (e *Engine) RedeemDevice(ctx context.Context, c *Call, hash, session [32]byte) (SessionInfo, error) {
	r := c.begin(policy.RedeemDevice)
	r.Resource = SessionID(hash)
	if err := e.look(c); err != nil {
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	d := e.ledger.View().Device(hash)
	if err := e.mayRedeem(c, d); err != nil {
		return SessionInfo{}, e.finishGuest(c, &r, err)
	}
	r.Tenant, r.Subject, r.Kind = d.Tenant, d.User, policy.KindUser.String()
	before := e.ledger.View().Tenant(d.Tenant).User(d.User)
	if before == nil {
		return SessionInfo{}, e.finish(c, &r, ErrDeviceExpired)
	}
	var info SessionInfo
	err := e.steps(c, &r, func() error {
		if err := e.makeRoom(ctx, c, before); err != nil {
			return err
		}
		now := e.now()
		err := e.commit(ctx, c, command.RedeemDevice{Hash: hash, Session: directory.Session{
			Hash: session, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(SessionLifetime).UnixMilli(), Provider: providerDevice,
			Source: c.Source,
		}})
		if fault.Of(err) == fault.Unauthenticated {
			return ErrDeviceExpired
		}
		if err == nil {
			info, err = e.lookAgain(ctx, c, before, session)
		}
		return err
	})
	if err != nil {
		return SessionInfo{}, err
	}
	return info, nil
}

// mayRedeem decides whether a sign-in can become a session now. A device code that nobody has is a visit like any other.
func (e *Engine) mayRedeem(c *Call, d *directory.Device) error {
	if d == nil || d.ExpiresAt <= e.now().UnixMilli() {
		if err := e.visit(c); err != nil {
			return err
		}
		return ErrDeviceExpired
	}
	if _, ok := e.guests.polls.Allow(d.Hash, pollRate, 1, e.now()); !ok {
		return ErrDeviceSlowDown
	}
	switch d.State {
	case directory.DeviceApproved:
		return nil
	case directory.DevicePending:
		return ErrDevicePending
	case directory.DeviceDenied:
		return ErrDeviceDenied
	case directory.DeviceUnknown:
	}
	return ErrDeviceExpired
}
