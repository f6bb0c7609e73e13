/** Questions for pages of conversations: one under way at a time, asked again after a reconnect. */

import { Asking } from "./asking.js";
import { AnserError } from "./errors.js";
import { Command } from "./frame.js";
import { LIMITS } from "./limits.js";
import type { Link } from "./link.js";
import { messageOf, type Reader } from "./message.js";
import type { HistoryQuery, Page } from "./types.js";
import type { Body, HistoryOk } from "./wire.js";

interface Question {
    readonly peer: string;
    readonly query: HistoryQuery;
    /** Absent: asked for the delivered mark alone. */
    readonly done: ((result: Page | AnserError) => void) | undefined;
    attempts: number;
}

export interface HistoryEvents {
    now(): number;
    reader(): Reader;
    delivered(peer: string, seq: number): void;
}

export class Histories {
    readonly #events: HistoryEvents;
    readonly #asking = new Asking();
    #questions: Question[] = [];

    constructor(events: HistoryEvents) {
        this.#events = events;
    }

    get full(): boolean {
        return this.#questions.filter((q) => q.done).length >= LIMITS.histories;
    }

    add(peer: string, query: HistoryQuery, done: (result: Page | AnserError) => void): void {
        this.#questions.push({ peer, query, done, attempts: 0 });
    }

    addForMark(peer: string): void {
        if (this.#questions.some((q) => q.peer === peer && !q.done)) return;
        this.#questions.push({ peer, query: { limit: 1 }, done: undefined, attempts: 0 });
    }

    get dueAt(): number {
        return this.#questions.length > 0 && !this.#asking.busy ? this.#asking.notBefore : Infinity;
    }

    step(now: number, link: Link): void {
        const question = this.#questions[0];
        if (!question || now < this.dueAt) return;
        if (question.attempts >= LIMITS.historyAttempts) {
            this.#decided(question, AnserError.of("TIMEOUT")); // its answers end the connection
            return;
        }
        this.#asking.busy = true;
        question.attempts++;
        const { peer, query } = question;
        link.ask(Command.HISTORY, { peer, ...query }, now, (answer) => {
            this.#asking.busy = false;
            if (answer instanceof AnserError) this.#refused(question, answer);
            else this.#answered(question, answer);
        });
    }

    #answered(question: Question, ok: Body<typeof HistoryOk>): void {
        const { peer } = question;
        const reader = this.#events.reader();
        const messages = ok.messages.map((wire) => messageOf(wire, 0, reader));
        this.#decided(question, {
            peer, messages, head: ok.head, completed: ok.completed,
            peerDelivered: ok.peerDelivered, ownDelivered: ok.ownDelivered,
        });
        this.#events.delivered(peer, ok.peerDelivered);
    }

    #refused(question: Question, error: AnserError): void {
        if (error.retry && question.attempts < LIMITS.historyAttempts) {
            this.#asking.refused(this.#events.now(), error);
        } else {
            this.#decided(question, error);
        }
    }

    #decided(question: Question, result: Page | AnserError): void {
        this.#asking.answered();
        this.#questions = this.#questions.filter((other) => other !== question);
        question.done?.(result);
    }

    lost(): void {
        this.#asking.lost();
    }

    failAll(error: AnserError): void {
        for (const question of this.#questions.splice(0)) question.done?.(error);
    }
}
