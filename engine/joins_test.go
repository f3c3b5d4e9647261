package engine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/joincode"
)

// giver hands out keys as a token does: wrapped with RSA-OAEP for the joiner. The transfer between real tokens is tested where they
// are; here it is about when it is asked for, and what becomes of its answer.
type giver struct {
	mu    sync.Mutex
	down  bool
	asked int
}

func (g *giver) KeyCheckValues() directory.KeyCheckValues {
	return directory.KeyCheckValues{Master: token.MasterKCV(), WrapPrivate: []byte("private!"), WrapSecret: []byte("secret!!")}
}

func (g *giver) TransferKeys(_ context.Context, joinKey []byte, hash algs.Name) (directory.KeyTransfer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.down || hash != algs.SHA256 {
		return directory.KeyTransfer{}, errDown
	}
	public, err := x509.ParsePKIXPublicKey(joinKey)
	if err != nil {
		return directory.KeyTransfer{}, err
	}
	wrap := func(key string) []byte {
		wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), []byte(key), nil)
		if err != nil {
			panic(err)
		}
		return wrapped
	}
	return directory.KeyTransfer{
		Master: wrap("master"), WrapPrivate: wrap("private"), WrapSecret: wrap("secret"), Check: g.KeyCheckValues(),
	}, nil
}

// joinRSA is a join key that the tests share: it takes a while to make one.
var joinRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		panic(err)
	}
	return key
})

func spki(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// joiner is a node that wants to join, in its own process so to speak.
type joiner struct {
	*clustered
	secret joincode.Secret
	key    *ecdsa.PrivateKey
	says   directory.Join
}

// newJoiner invites a node and makes its keys.
func (c *clustered) newJoiner(n int) *joiner {
	c.t.Helper()
	_, code, err := c.engine.InviteMember(c.t.Context(), c.operator, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	return &joiner{c, code.Secret, key, directory.Join{
		Hash: code.Secret.Hash(), Node: member(n), Name: "new-" + member(n), Address: member(n) + ".example.com:8444", Method: directory.JoinWrap,
		NodeKey: spki(c.t, &key.PublicKey), JoinKey: spki(c.t, &joinRSA().PublicKey), OAEP: "SHA-256", CommandVersion: command.Newest(), Program: "1.0",
	}}
}

// call is one of somebody who has no credential.
func (j *joiner) call() *engine.Call {
	return &engine.Call{RequestID: "r", Source: "198.51.100.7", Start: time.Now()}
}

func (j *joiner) sign(digest [32]byte) []byte {
	signature, err := j.key.Sign(rand.Reader, digest[:], nil)
	if err != nil {
		j.t.Fatal(err)
	}
	return signature
}

func (j *joiner) ask() (*directory.Join, error) {
	return j.engine.RequestJoin(j.t.Context(), j.call(), &engine.JoinRequest{Join: j.says, Signature: j.sign(j.says.RequestDigest())})
}

func (j *joiner) mustAsk() *directory.Join {
	j.t.Helper()
	made, err := j.ask()
	if err != nil {
		j.t.Fatal(err)
	}
	return made
}

func (j *joiner) status(id string) (*engine.JoinAnswer, error) {
	return j.engine.JoinStatus(j.t.Context(), j.call(), id, j.secret.Hash())
}

func (j *joiner) complete(id string, change func(*engine.JoinProof)) error {
	check := j.giver.KeyCheckValues()
	proof := &engine.JoinProof{ID: id, Hash: j.secret.Hash(), Check: check, Signature: j.sign(directory.JoinCompleteDigest(id, &check))}
	if change != nil {
		change(proof)
	}
	return j.engine.CompleteJoin(j.t.Context(), j.call(), proof)
}

func (j *joiner) approve(id string) {
	j.t.Helper()
	if _, err := j.engine.ApproveJoin(j.t.Context(), j.operator, id, directory.FormatFingerprint(j.says.Fingerprint())); err != nil {
		j.t.Fatal(err)
	}
}

// TestJoin is the whole way of a node into the cluster, with what the audit log says of it.
func TestJoin(t *testing.T) {
	c := newClustered(t)
	j := c.newJoiner(7)
	made := j.mustAsk()
	if made.State != directory.JoinWaiting || made.ExpiresAt-made.CreatedAt != engine.JoinLifetime.Milliseconds() {
		t.Fatalf("%+v", made)
	}
	again, err := j.ask() // its answer got lost
	if err != nil || again.ID != made.ID {
		t.Fatalf("%+v, %v", again, err)
	}
	records := c.audit.all.Load()
	answer, err := j.status(made.ID)
	if err != nil || answer.Join.State != directory.JoinWaiting || answer.Cluster != nil || answer.Members != nil || answer.Check.Master != nil {
		t.Fatalf("%+v, %v", answer, err)
	}
	if c.audit.all.Load() != records {
		t.Error("a node that waits fills the audit log")
	}
	list, err := c.engine.Joins(t.Context(), c.operator)
	if err != nil || len(list) != 1 || list[0].Fingerprint != directory.FormatFingerprint(j.says.Fingerprint()) {
		t.Fatalf("%+v, %v", list, err)
	}
	refusedAs(t, j.complete(made.ID, nil), fault.Conflict, "not approved: it is waiting")
	j.approve(made.ID)
	if r := c.audit.last.Load(); r.Action != "cluster.join-decide" || r.Resource != made.ID || r.Cause != "approved" || r.Subject != c.operator.Subject.ID {
		t.Errorf("recorded %+v", r)
	}
	answer, err = j.status(made.ID)
	if err != nil || answer.Join.State != directory.JoinApproved || answer.Cluster.ID != "cluster_1" || len(answer.Members) != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	master, err := rsa.DecryptOAEP(sha256.New(), nil, joinRSA(), answer.Join.Transfer.Master, nil)
	if err != nil || string(master) != "master" {
		t.Fatalf("%s, %v", master, err)
	}
	if err := j.complete(made.ID, nil); err != nil {
		t.Fatal(err)
	}
	m := c.ledger.Node.View().Member(member(7))
	if m == nil || m.Status != directory.MemberActive || m.Key != sha256.Sum256(j.says.NodeKey) {
		t.Fatalf("%+v", m)
	}
	answer, err = j.status(made.ID)
	if err != nil || answer.Join.State != directory.JoinDone || answer.Join.Transfer != nil || len(answer.Members) != 2 {
		t.Fatalf("%+v, %v", answer, err)
	}
	// The same proof once more changes nothing.
	writes := c.ledger.writes.Load()
	if err := j.complete(made.ID, nil); err != nil || c.ledger.writes.Load() != writes {
		t.Fatalf("%v, %d writes", err, c.ledger.writes.Load()-writes)
	}
}

// TestRequestJoinRefuses: all that is wrong with a code has one answer, and a request is the node's own or none.
func TestRequestJoinRefuses(t *testing.T) {
	c := newClustered(t)
	used, over := c.newJoiner(3), c.newJoiner(4)
	used.mustAsk()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(j *joiner)
		kind   fault.Kind
		says   string
	}{
		"no key":          {func(j *joiner) { j.says.NodeKey = nil }, fault.Malformed, "node_key"},
		"another curve":   {func(j *joiner) { j.says.NodeKey = spki(t, &p384.PublicKey) }, fault.Malformed, "P-256"},
		"not DER":         {func(j *joiner) { j.says.NodeKey = append(j.says.NodeKey, 0) }, fault.Malformed, "node_key"},
		"a short RSA key": {func(j *joiner) { j.says.JoinKey = spki(t, &small.PublicKey) }, fault.Malformed, "4096 bits"},
		"no RSA key":      {func(j *joiner) { j.says.JoinKey = j.says.NodeKey }, fault.Malformed, "4096 bits"},
		"MD5":             {func(j *joiner) { j.says.OAEP = "MD5" }, fault.Malformed, "SHA-256"},
		"strange method":  {func(j *joiner) { j.says.Method = "mail" }, fault.Malformed, "method"},
		"another's key":   {func(j *joiner) { j.key = stranger }, fault.Forbidden, "not signed by the node key that it announces"},
		"old program":     {func(j *joiner) { j.says.CommandVersion = command.Newest() - 1 }, fault.Conflict, "commands of version 2"},
		"no address":      {func(j *joiner) { j.says.Address = "" }, fault.Malformed, "no valid address"},
		"id of a member":  {func(j *joiner) { j.says.Node = "node_1" }, fault.Conflict, "with this id"},
		"much too long":   {func(j *joiner) { j.says.Program = strings.Repeat("p", 70_000) }, fault.TooLarge, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			j := c.newJoiner(5)
			c.clock.Add(int64(time.Minute)) // the address may go on
			in := &engine.JoinRequest{}
			test.change(j)
			in.Join = j.says
			if name != "much too long" {
				in.Signature = j.sign(j.says.RequestDigest())
			}
			_, err := c.engine.RequestJoin(t.Context(), j.call(), in)
			refusedAs(t, err, test.kind, test.says)
			if c.ledger.Node.View().JoinInvitation(j.secret.Hash()) == nil {
				t.Error("the code is used up")
			}
		})
	}
	c.clock.Add(int64(2 * time.Hour))
	wrong := c.newJoiner(6)
	wrong.says.Hash = [32]byte{1}
	used.says.Node = "node_8" // another node with a code that was used
	var answers []string
	for _, j := range []*joiner{wrong, used, over} {
		c.clock.Add(int64(time.Hour / 10))
		_, err := j.ask()
		refusedAs(t, err, fault.Unauthenticated, "unknown, used or over")
		answers = append(answers, err.Error())
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("the answers differ: %q", answers)
	}
	// Who guesses has to wait.
	for range 30 {
		if _, err = wrong.ask(); fault.Of(err) == fault.RateLimited {
			break
		}
	}
	if fault.Of(err) != fault.RateLimited || fault.RetryAfterOf(err) == 0 {
		t.Errorf("guesses are not bounded: %v", err)
	}
	for n := 1; n <= 8; n++ { // and longer each time
		c.clock.Add(int64(fault.RetryAfterOf(err)))
		if _, err = wrong.ask(); fault.Of(err) != fault.Unauthenticated {
			t.Fatalf("after the wait: %v", err)
		}
		_, err = wrong.ask()
	}
	if wait := fault.RetryAfterOf(err); wait < 4*time.Second {
		t.Errorf("after many guesses the wait is %s", wait)
	}
	// Each part of what a node says is signed.
	j := c.newJoiner(9)
	signature := j.sign(j.says.RequestDigest())
	for name, change := range map[string]func(*directory.Join){
		"node": func(j *directory.Join) { j.Node += "x" }, "name": func(j *directory.Join) { j.Name += "x" },
		"address": func(j *directory.Join) { j.Address = "x" + j.Address }, "API": func(j *directory.Join) { j.API = "a:1" },
		"version": func(j *directory.Join) { j.CommandVersion++ }, "program": func(j *directory.Join) { j.Program += "x" },
		"hash":        func(j *directory.Join) { j.OAEP = "SHA-1" },
		"check value": func(j *directory.Join) { j.Check.Master = []byte("x") },
		"method":      func(j *directory.Join) { j.Method = directory.JoinShared },
	} {
		c.clock.Add(int64(time.Minute))
		said := j.says
		change(&said)
		_, err := c.engine.RequestJoin(t.Context(), j.call(), &engine.JoinRequest{Join: said, Signature: signature})
		if fault.Of(err) != fault.Forbidden {
			t.Errorf("%s is not signed: %v", name, err)
		}
	}
}

// TestApproveJoinRefuses: an approval is for the key that the operator saw, once, and needs the token.
func TestApproveJoinRefuses(t *testing.T) {
	c := newClustered(t)
	j := c.newJoiner(2)
	id := j.mustAsk().ID
	whole := directory.FormatFingerprint(j.says.Fingerprint())
	approve := func(fingerprint string) error {
		_, err := c.engine.ApproveJoin(t.Context(), c.operator, id, fingerprint)
		return err
	}
	other := j.says.Fingerprint()
	other[0] ^= 1
	last := j.says.Fingerprint()
	last[31] ^= 1
	for name, given := range map[string]string{"first": directory.FormatFingerprint(other), "last": hex.EncodeToString(last[:])} {
		if err := approve(given); fault.Of(err) != fault.Forbidden || !strings.Contains(err.Error(), "deny the request") {
			t.Errorf("%s digit: %v", name, err)
		}
	}
	for _, given := range []string{"", "0", strings.ReplaceAll(whole, " ", "")[:15], whole + "0", strings.Repeat("g", 16), whole[:20] + "x"} {
		refusedAs(t, approve(given), fault.Malformed, "first 16 hexadecimal digits")
	}
	if c.giver.asked != 0 {
		t.Fatal("keys were wrapped for a node that nobody knows")
	}
	c.giver.down = true
	if err := approve(whole); fault.Of(err) != fault.HSMUnavailable {
		t.Fatalf("%v", err)
	}
	if got := c.ledger.Node.View().Join(id); got.State != directory.JoinWaiting {
		t.Fatalf("%+v", got)
	}
	c.giver.down = false
	_, err := c.engine.ApproveJoin(t.Context(), c.operator, "join_0", whole)
	refusedAs(t, err, fault.NotFound, "no such request")
	info, err := c.engine.ApproveJoin(t.Context(), c.operator, id, strings.ToUpper(whole[:19]))
	if err != nil || info.Record.State != directory.JoinApproved || info.Fingerprint != whole {
		t.Fatalf("%+v, %v", info, err)
	}
	refusedAs(t, approve(whole), fault.Conflict, "decided already: it is approved")
	_, err = c.engine.DenyJoin(t.Context(), c.operator, id)
	refusedAs(t, err, fault.Conflict, "decided already")
	late := c.newJoiner(3)
	lateID := late.mustAsk().ID
	c.clock.Add(int64(engine.JoinLifetime))
	_, err = c.engine.DenyJoin(t.Context(), c.userNamed("o2", directory.Operator), lateID)
	refusedAs(t, err, fault.NotFound, "over")
}

// TestDenyJoin: a node that was denied is told, and gets nothing.
func TestDenyJoin(t *testing.T) {
	c := newClustered(t)
	j := c.newJoiner(2)
	id := j.mustAsk().ID
	if info, err := c.engine.DenyJoin(t.Context(), c.operator, id); err != nil || info.Record.State != directory.JoinDenied {
		t.Fatalf("%+v, %v", info, err)
	}
	answer, err := j.status(id)
	if err != nil || answer.Join.State != directory.JoinDenied || answer.Cluster != nil || answer.Join.Transfer != nil {
		t.Fatalf("%+v, %v", answer, err)
	}
	refusedAs(t, j.complete(id, nil), fault.Conflict, "it is denied")
}

// TestJoinWithTheSameKeys: where the token has the keys already, none are sent, and they must be the cluster's.
func TestJoinWithTheSameKeys(t *testing.T) {
	c := newClustered(t)
	for n, method := range []directory.JoinMethod{directory.JoinShared, directory.JoinPreloaded} {
		j := c.newJoiner(n + 2)
		j.says.Method, j.says.JoinKey, j.says.OAEP, j.says.Check = method, nil, "", c.giver.KeyCheckValues()
		wrong := c.newJoiner(n + 4)
		wrong.says.Method, wrong.says.JoinKey, wrong.says.OAEP, wrong.says.Check = method, nil, "", c.giver.KeyCheckValues()
		wrong.says.Check.WrapSecret = []byte("another!")
		bad := wrong.mustAsk().ID
		_, err := c.engine.ApproveJoin(t.Context(), c.operator, bad, directory.FormatFingerprint(wrong.says.Fingerprint()))
		refusedAs(t, err, fault.Conflict, "other keys than the cluster")
		id := j.mustAsk().ID
		j.approve(id)
		answer, err := j.status(id)
		check := c.giver.KeyCheckValues()
		if err != nil || answer.Join.Transfer != nil || !answer.Check.Equal(&check) {
			t.Fatalf("%+v, %v", answer, err)
		}
		if err := j.complete(id, nil); err != nil {
			t.Fatal(err)
		}
	}
	if c.giver.asked != 0 {
		t.Error("keys were wrapped for a token that has them")
	}
}

// TestCompleteJoinRefuses: only the node that was approved becomes a member, and only with the keys of the cluster.
func TestCompleteJoinRefuses(t *testing.T) {
	c := newClustered(t)
	j, other := c.newJoiner(2), c.newJoiner(3)
	id, otherID := j.mustAsk().ID, other.mustAsk().ID
	j.approve(id)
	for name, test := range map[string]struct {
		change func(*engine.JoinProof)
		kind   fault.Kind
		says   string
	}{
		"wrong code":       {func(p *engine.JoinProof) { p.Hash = [32]byte{1} }, fault.Unauthenticated, "unknown, used or over"},
		"another request":  {func(p *engine.JoinProof) { p.ID = otherID }, fault.Unauthenticated, "unknown, used or over"},
		"another's code":   {func(p *engine.JoinProof) { p.Hash = other.secret.Hash() }, fault.Unauthenticated, "unknown, used or over"},
		"other keys":       {func(p *engine.JoinProof) { p.Check.Master = []byte("12345678") }, fault.Conflict, "other keys"},
		"no keys":          {func(p *engine.JoinProof) { p.Check = directory.KeyCheckValues{} }, fault.Conflict, "other keys"},
		"no signature":     {func(p *engine.JoinProof) { p.Signature = nil }, fault.Forbidden, "not signed by the node key"},
		"another's proof":  {func(p *engine.JoinProof) { p.Signature = other.sign(directory.JoinCompleteDigest(id, &p.Check)) }, fault.Forbidden, "not signed"},
		"another purpose":  {func(p *engine.JoinProof) { p.Signature = j.sign(j.says.RequestDigest()) }, fault.Forbidden, "not signed"},
		"another's number": {func(p *engine.JoinProof) { p.Signature = j.sign(directory.JoinCompleteDigest(otherID, &p.Check)) }, fault.Forbidden, "not signed"},
	} {
		c.clock.Add(int64(time.Minute))
		err := j.complete(id, test.change)
		if t.Run(name, func(t *testing.T) { refusedAs(t, err, test.kind, test.says) }); c.ledger.Node.View().Member(member(2)) != nil {
			t.Fatalf("%s: it is a member", name)
		}
	}
	c.clock.Add(int64(time.Minute))
	_, err := other.status(id)
	refusedAs(t, err, fault.Unauthenticated, "unknown, used or over")
	if err := j.complete(id, nil); err != nil {
		t.Fatal(err)
	}
	c.clock.Add(int64(engine.JoinLifetime))
	refusedAs(t, j.complete(id, nil), fault.Unauthenticated, "unknown, used or over")
}

// TestJoinPollsAreBounded: a node may ask every second, and not much more often.
func TestJoinPollsAreBounded(t *testing.T) {
	c := newClustered(t)
	j := c.newJoiner(2)
	id := j.mustAsk().ID
	c.frozen.Store(time.Now().Add(time.Minute).UnixNano())
	var err error
	tries := 0
	for ; err == nil && tries < 100; tries++ {
		_, err = j.status(id)
	}
	if fault.Of(err) != fault.RateLimited || tries > 20 {
		t.Fatalf("after %d: %v", tries, err)
	}
	for range 20 {
		c.frozen.Add(int64(time.Second))
		if _, err := j.status(id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJoinNeedsTheAuditLog: nothing is answered that was not recorded.
func TestJoinNeedsTheAuditLog(t *testing.T) {
	c := newClustered(t)
	j := c.newJoiner(2)
	id := j.mustAsk().ID
	j.approve(id)
	c.audit.fail.Store(true)
	_, err := j.status(id)
	refusedAs(t, err, fault.AuditUnavailable, "")
	refusedAs(t, j.complete(id, nil), fault.AuditUnavailable, "")
	if c.ledger.Node.View().Member(member(2)) != nil {
		t.Error("it is a member all the same")
	}
	c.audit.fail.Store(false)
}
