package nodes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables/expr"

	"github.com/weftnet/weft/internal/lab"
)

// The log of seed 002's nginx, which a container of the other host asks through
// flannel.1: docker's rule has it say 172.7.22.0, the address of that device, in the
// place of the container's 172.7.22.10. The seed's change of the rule on both hosts
// mends that, and so does --ip-masq with docker's rule as it was. A server
// outside the network sees the host at all times.
func TestNginxLog(t *testing.T) {
	t.Parallel()
	lab.NeedNFTables(t)
	eachDatapath(t, func(t *testing.T, datapath string) {
		s := seeds["002/VxLAN"]
		s.datapaths = [2]string{datapath, datapath}
		o := &overlay{network: newNetwork(t, 3)}
		for _, n := range o.nodes[:2] {
			n.dockerTables()
		}
		s.startAgents(t, o.network)
		for i, at := range []string{"172.7.21.15", "172.7.22.10"} {
			o.containers[i], o.addrs[i] = o.nodes[i].containerAt(netip.MustParseAddr(at)), netip.MustParseAddr(at)
		}
		eventually(t, func() error { return o.containers[1].Ping(o.addrs[0], lab.PingOptions{}).Lost() })

		logs := o.newLogs()
		o.setMasquerade((*node).dockerMasquerade)
		logs.say("172.7.22.0")

		o.setMasquerade((*node).dockerMasqueradeOutside)
		logs.say("172.7.22.10")

		o.masquerade("--datapath=" + datapath)
		o.setMasquerade((*node).dockerMasquerade)
		logs.say("172.7.22.10")
	})
}

// setMasquerade has one rule of docker's on both nodes.
func (o *overlay) setMasquerade(rule func(*node)) {
	o.t.Helper()
	for _, n := range o.nodes[:2] {
		n.flush("nat", "POSTROUTING")
		rule(n)
	}
}

// dockerMasqueradeOutside is the seed's -A POSTROUTING -s 172.7.22.0/24 ! -d 172.7.0.0/16
// ! -o docker0 -j MASQUERADE.
func (n *node) dockerMasqueradeOutside() {
	n.t.Helper()
	f := n.file()
	toOthers := address(16, f.Network.Addr().AsSlice()[:f.Network.Bits()/8])
	toOthers[1].(*expr.Cmp).Op = expr.CmpOpNeq
	n.masqueradeOut(toOthers...)
}

// logs are those of servers in the first container and outside.
type logs struct {
	*overlay
	inside, outside chan string
}

func (o *overlay) newLogs() *logs {
	o.t.Helper()
	return &logs{o, serveNginx(o.t, o.containers[0], o.addrs[0]), serveNginx(o.t, o.nodes[2].Host, o.nodes[2].addr)}
}

// say has the second container ask both servers, and wants an address in the log of
// the first one, and that of the container's node in the other's. The rules may take a
// moment.
func (l *logs) say(want string) {
	l.t.Helper()
	client := l.containers[1]
	eventually(l.t, func() error { return logged(client, l.addrs[0], l.inside, want) })
	eventually(l.t, func() error { return logged(client, l.nodes[2].addr, l.outside, l.nodes[1].addr.String()) })
}

// logged has a host ask a server as curl does, and wants the seed's line but for the
// time, with an address.
func logged(from *lab.Host, server netip.Addr, log chan string, want string) error {
	for len(log) > 0 {
		<-log // of a try whose answer did not come
	}
	if err := curl(from, "http://"+server.String()+"/"); err != nil {
		return err
	}
	line := <-log
	before, rest, _ := strings.Cut(line, "[")
	_, after, _ := strings.Cut(rest, "]")
	if have, want := before+"[]"+after, want+` - - [] "GET / HTTP/1.1" 200 612 "-" "curl/7.64.0" "-"`; have != want {
		return fmt.Errorf("the log says\n%s, want\n%s", line, want)
	}
	return nil
}

// curl asks from a host, with a connection of its own.
func curl(h *lab.Host, url string) error {
	dial := func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = h.Do(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}
	client := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "curl/7.64.0")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

// serveNginx has a server answer as a new nginx does, and returns its log.
func serveNginx(t testing.TB, h *lab.Host, at netip.Addr) chan string {
	t.Helper()
	var l net.Listener
	check(t, h.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(at, 80).String())
		return err
	}))
	page := strings.Repeat(".", 612)
	log := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.WriteString(w, page)
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		line := fmt.Sprintf(`%s - - [%s] "%s %s %s" %d %d "-" "%s" "-"`, client, time.Now().Format("02/Jan/2006:15:04:05 -0700"),
			r.Method, r.RequestURI, r.Proto, http.StatusOK, n, r.UserAgent())
		select {
		case log <- line:
		default: // nobody has read that of a try before
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return log
}
