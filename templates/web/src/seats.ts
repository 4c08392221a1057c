/** Somebody who may have a seat. */
export interface Guest {
  id: string;
  speaking: boolean;
  /** Has a picture: preferred when there are too few seats. */
  picture: boolean;
}

/**
 * Who is shown when not all can be. Whoever has a seat keeps it, and its place, as long as possible:
 * somebody who speaks without a seat takes the one of whoever has been silent for the longest.
 */
export class Seats {
  private seated: string[] = [];
  private readonly spoke = new Map<string, number>();
  private turn = 0;

  /** Gives the ids that are shown, in their places. guests come in the order in which they joined. */
  assign(guests: Guest[], capacity: number): string[] {
    const byId = new Map(guests.map((g) => [g.id, g]));
    this.turn++;
    for (const g of guests) if (g.speaking) this.spoke.set(g.id, this.turn);
    for (const id of this.spoke.keys()) if (!byId.has(id)) this.spoke.delete(id);

    const waiting = guests.filter((g) => !this.seated.includes(g.id));
    if (guests.length > capacity) waiting.sort((a, b) => Number(b.picture) - Number(a.picture));
    // Whoever comes takes the place of whoever went, so that no third one moves.
    this.seated = this.seated.flatMap((id) => (byId.has(id) ? id : (waiting.shift()?.id ?? [])));
    if (this.seated.length > capacity) this.dismiss(this.seated.length - capacity);
    while (this.seated.length < capacity && waiting.length > 0) this.seated.push(waiting.shift()!.id);
    for (const g of waiting) if (g.speaking) this.exchange(g.id, byId);
    return this.seated;
  }

  private lastSpoke(id: string): number {
    return this.spoke.get(id) ?? 0;
  }

  private dismiss(count: number): void {
    const out = new Set([...this.seated].reverse().sort((a, b) => this.lastSpoke(a) - this.lastSpoke(b)).slice(0, count));
    this.seated = this.seated.filter((id) => !out.has(id));
  }

  private exchange(id: string, byId: Map<string, Guest>): void {
    let silent = -1;
    this.seated.forEach((other, i) => {
      if (byId.get(other)?.speaking) return;
      // Of equally silent ones, the last seat: the eye is less often there.
      if (silent < 0 || this.lastSpoke(other) <= this.lastSpoke(this.seated[silent]!)) silent = i;
    });
    if (silent >= 0) this.seated[silent] = id;
  }
}
