import { defineConfig } from 'vitest/config';

export default defineConfig({
  // The page is served from the root of a server of its own, on any port.
  base: './',
  esbuild: { jsx: 'automatic' },
  build: {
    target: 'chrome120',
    // data: URLs would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One bundle on loopback: its size is read in milliseconds.
    chunkSizeWarningLimit: 2048,
    reportCompressedSize: false,
  },
  test: { include: ['src/**/*.test.ts'] },
});
