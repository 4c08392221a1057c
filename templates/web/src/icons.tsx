/** A crossed-out microphone. */
export function MutedIcon() {
  return (
    <svg className="muted" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M15 6.2V5.4a3 3 0 0 0-5.8-1.1M9 9.3V12a3 3 0 0 0 4.9 2.3M5.8 11.5a6.2 6.2 0 0 0 10.3 5.1M18.2 11.5a6.2 6.2 0 0 1-.4 2.2M12 18.2V21.4" />
      <path d="M3.6 3.2 20.4 20.4" />
    </svg>
  );
}

/** A screen. */
export function ScreenIcon() {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true">
      <path d="M3.5 5h17v11.5h-17zM8.5 20.3h7" />
    </svg>
  );
}
