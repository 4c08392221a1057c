import type { End, NoStart } from './ends';

/** What the page tells its recorder, each once. */
export class Markers {
  private state: 'before' | 'started' | 'over' = 'before';

  get started(): boolean {
    return this.state === 'started';
  }

  get over(): boolean {
    return this.state === 'over';
  }

  start(): void {
    if (this.state !== 'before') return;
    this.state = 'started';
    console.log('START_RECORDING');
  }

  end(reason: End): void {
    if (this.state !== 'started') return;
    this.state = 'over';
    console.log('END_RECORDING', reason);
  }

  /** Says why there will be no recording, before there is one; with a reason, that another try would be wrong. */
  fail(text: string, end?: NoStart): void {
    if (this.state !== 'before') return;
    this.state = 'over';
    if (end) console.log('END_RECORDING', end);
    const box = document.createElement('div');
    box.className = 'error';
    box.textContent = text;
    document.body.replaceChildren(box);
  }
}
