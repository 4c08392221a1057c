package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder/recordertest"
)

// startNoise serves the barcode page with a noisy patch that no encoder can
// make small, so that a stall of the network is felt at once.
func startNoise(t testing.TB) string {
	t.Helper()
	resp, err := http.Get(recordertest.StartPage(t).URL + "/barcode")
	require.NoError(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(append(page, noise...))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const noise = `<canvas id="noise" width="320" height="180" style="left: 10vw; top: 60vh; width: 320px; height: 180px"></canvas>
<script>
const patch = document.querySelector('#noise').getContext('2d', {alpha: false});
const grain = new OffscreenCanvas(640, 360), image = new ImageData(640, 360);
for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : Math.random() * 256;
grain.getContext('2d').putImageData(image, 0, 0);
(function draw() {
	patch.drawImage(grain, -Math.floor(Math.random() * 320), -Math.floor(Math.random() * 180));
	requestAnimationFrame(draw);
})();
</script>`
