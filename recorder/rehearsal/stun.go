package rehearsal

import (
	"net"

	"github.com/pion/stun/v3"

	"tapedeck/recorder"
)

// stunServer tells everybody on loopback their own address. It stands in for the
// public servers that LiveKit names to its clients otherwise, and it is what gives
// pion's clients a loopback candidate: they offer the addresses of no loopback
// interface, but do offer what a STUN server saw.
type stunServer struct {
	conn *net.UDPConn
	done chan struct{}
}

func startSTUN() (*stunServer, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeUnavailable, "no UDP port on loopback for STUN: %w", err)
	}
	s := &stunServer{conn: conn, done: make(chan struct{})}
	go s.run()
	return s, nil
}

func (s *stunServer) address() string { return s.conn.LocalAddr().String() }

func (s *stunServer) run() {
	defer close(s.done)
	packet := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFromUDP(packet)
		if err != nil {
			return
		}
		if answer := answerBinding(packet[:n], from); answer != nil {
			_, _ = s.conn.WriteToUDP(answer, from)
		}
	}
}

// answerBinding answers a binding request (RFC 8489, section 3); nil for anything else.
func answerBinding(packet []byte, from *net.UDPAddr) []byte {
	request := &stun.Message{Raw: packet}
	if !stun.IsMessage(packet) || request.Decode() != nil || request.Type != stun.BindingRequest {
		return nil
	}
	answer, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: from.IP, Port: from.Port}, stun.Fingerprint)
	if err != nil {
		return nil
	}
	return answer.Raw
}

// close returns when the goroutine has.
func (s *stunServer) close() {
	_ = s.conn.Close()
	<-s.done
}
