package rehearsal

import (
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
)

// reportsFactory makes the interceptors that put our clock into sender reports, one
// for each connection.
type reportsFactory struct{ publisher *Publisher }

// NewInterceptor is called by pion.
func (f reportsFactory) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &reports{publisher: f.publisher}, nil
}

// reports corrects sender reports, by which receivers put picture and sound
// together. pion derives them from when the last packet was written, so that
// every delay of the machine's would move the one against the other for as long as
// the report is the newest; the timetable knows better.
type reports struct {
	interceptor.NoOp
	publisher *Publisher
}

// BindRTCPWriter is called by pion. Writers of other interceptors end in this one.
func (r *reports) BindRTCPWriter(writer interceptor.RTCPWriter) interceptor.RTCPWriter {
	return interceptor.RTCPWriterFunc(func(packets []rtcp.Packet, attributes interceptor.Attributes) (int, error) {
		for _, p := range packets {
			if report, ok := p.(*rtcp.SenderReport); ok {
				r.publisher.correct(report, time.Now())
			}
		}
		return writer.Write(packets, attributes)
	})
}

// correct gives a report the timestamp that its track has at the time.
func (p *Publisher) correct(report *rtcp.SenderReport, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tracks {
		for _, l := range t.layers {
			if uint32(l.local.SSRC()) == report.SSRC {
				report.NTPTime = ntpTime(now)
				report.RTPTime = l.base + uint32(p.times.ticks(now, l.clock))
			}
		}
	}
}

// ntpTime gives a time as RFC 3550 has it: seconds since 1900, and 2^-32 of one.
func ntpTime(t time.Time) uint64 {
	const epoch = 2208988800
	return uint64(t.Unix()+epoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
