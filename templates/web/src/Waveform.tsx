import { useEffect, useRef } from 'react';
import type { Rect } from './geometry';
import type { Theme } from './layout';
import type { Sounds } from './sound';

const framesPerSecond = 12;
const bars = 48;

/** Draws how loud the room is, by frequency: few bars, few times a second, and nothing while nothing changes. */
export function Waveform({ rect, sounds, theme }: { rect: Rect; sounds: Sounds; theme: Theme }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = Math.round(Math.min(rect.width * 0.7, rect.height * 4));
  const height = Math.round(rect.height * 0.5);
  useEffect(() => {
    const ears = new Ears();
    const levels = new Array<number>(bars).fill(-1);
    const timer = setInterval(() => {
      ears.listen(sounds.tracks());
      const next = ears.levels(levels);
      if (canvas.current && next.some((level, i) => level !== levels[i])) draw(canvas.current, next);
      next.forEach((level, i) => (levels[i] = level));
    }, 1000 / framesPerSecond);
    return () => {
      clearInterval(timer);
      ears.close();
    };
  }, [sounds, width, height, theme]); // a theme has its colour, and a size empties the canvas
  const x = Math.round(rect.x + (rect.width - width) / 2);
  const y = Math.round(rect.y + (rect.height - height) / 2);
  return <canvas className="wave" ref={canvas} width={width} height={height} style={{ left: x, top: y }} />;
}

function draw(canvas: HTMLCanvasElement, levels: number[]): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const { width, height } = canvas;
  const pitch = width / bars;
  const thick = Math.max(2, Math.round(pitch * 0.55));
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).color;
  levels.forEach((level, i) => {
    const tall = Math.max(thick, Math.round(level * height));
    context.beginPath();
    context.roundRect(Math.round(i * pitch + (pitch - thick) / 2), Math.round((height - tall) / 2), thick, tall, thick / 2);
    context.fill();
  });
}

/** Gives each band a part of its neighbours, so that a pure tone is a hill and no wall. */
function spread(bands: number[]): number[] {
  return bands.map((level, i) => (level * 2 + (bands[i - 1] ?? level) + (bands[i + 1] ?? level)) / 4);
}

/** Hears tracks without playing them: that is the elements' business. */
class Ears {
  private readonly context = new AudioContext({ sinkId: { type: 'none' } } as AudioContextOptions);
  private readonly analyser = new AnalyserNode(this.context, { fftSize: 1024, smoothingTimeConstant: 0.5, minDecibels: -75, maxDecibels: -15 });
  private readonly bins = new Uint8Array(this.analyser.frequencyBinCount);
  private readonly sources = new Map<MediaStreamTrack, MediaStreamAudioSourceNode>();

  listen(tracks: MediaStreamTrack[]): void {
    for (const [track, node] of this.sources) {
      if (tracks.includes(track)) continue;
      node.disconnect();
      this.sources.delete(track);
    }
    for (const track of tracks) {
      if (this.sources.has(track)) continue;
      const node = this.context.createMediaStreamSource(new MediaStream([track]));
      node.connect(this.analyser);
      this.sources.set(track, node);
    }
  }

  /** Gives a level of 0 to 1 for each bar, low frequencies in the middle. */
  levels(last: number[]): number[] {
    this.analyser.getByteFrequencyData(this.bins);
    const half = bars / 2;
    const next = new Array<number>(bars);
    const bands = spread(spread(Array.from({ length: half }, (_, i) => this.band(i, half))));
    for (let i = 0; i < half; i++) {
      const level = bands[i] ?? 0;
      // Bars fall slower than they rise, in steps that are worth a drawing.
      const shown = Math.round(Math.max(level, (last[half + i] ?? 0) - 0.12, 0) * 40) / 40;
      next[half + i] = shown;
      next[half - 1 - i] = shown;
    }
    return next;
  }

  close(): void {
    void this.context.close();
  }

  /** The loudest bin of band i, the bands growing from 50 Hz to 8 kHz. */
  private band(i: number, count: number): number {
    const at = (n: number) => (50 * 160 ** (n / count)) / (this.context.sampleRate / 2) * this.bins.length;
    let loudest = 0;
    for (let bin = Math.floor(at(i)); bin <= Math.min(this.bins.length - 1, Math.ceil(at(i + 1))); bin++) {
      loudest = Math.max(loudest, this.bins[bin] ?? 0);
    }
    return loudest / 255;
  }
}
