package dataplane

import (
	"net/netip"
	"time"
)

// icmpLimit bounds ICMP errors as the kernel does by default: 1000 a second and
// 50 at once to all (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst), one a second
// and six at once to each host (icmp_ratelimit, XRLIM_BURST_FACTOR). The zero
// icmpLimit has all tokens.
type icmpLimit struct {
	all   tokens
	hosts map[netip.Addr]*tokens
}

// tokens are what may still be sent at once, in time that it took to earn them.
type tokens struct {
	spent time.Duration // when all tokens that are gone will have been earned
}

const (
	answerEvery, answersAtOnce         = time.Millisecond, 50
	hostAnswerEvery, hostAnswersAtOnce = time.Second, 6

	// limitedHosts bounds how many hosts are remembered. Beyond it all are
	// forgotten: the limit for all holds.
	limitedHosts = 1024
)

// allows takes a token, and reports whether there was one.
func (l *icmpLimit) allows(host netip.Addr, now time.Duration) bool {
	own := l.hosts[host]
	if own == nil {
		if l.hosts == nil || len(l.hosts) >= limitedHosts {
			l.hosts = map[netip.Addr]*tokens{}
		}
		own = &tokens{}
		l.hosts[host] = own
	}
	return own.has(now, hostAnswerEvery, hostAnswersAtOnce) && l.all.take(now, answerEvery, answersAtOnce) &&
		own.take(now, hostAnswerEvery, hostAnswersAtOnce)
}

func (t *tokens) has(now, every time.Duration, burst int) bool {
	return max(t.spent, now)+every <= now+time.Duration(burst)*every
}

func (t *tokens) take(now, every time.Duration, burst int) bool {
	if !t.has(now, every, burst) {
		return false
	}
	t.spent = max(t.spent, now) + every
	return true
}
