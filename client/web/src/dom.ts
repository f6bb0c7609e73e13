/** Elements made by functions. Text is only ever put in as text nodes: nothing is parsed as HTML. */

export type Child = Node | string | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: any) => void);

/** `on...` are listeners, true is an empty attribute, false and nothing are none. */
export function h<K extends keyof HTMLElementTagNameMap>(
    tag: K, attributes: Record<string, Value> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) set(element, name, value);
    add(element, children);
    return element;
}

export function set(element: Element, name: string, value: Value): void {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) {
        element.setAttribute(name, value === true ? "" : String(value));
    }
}

function add(element: Element, children: Child[]): void {
    for (const child of children) if (child) element.append(child);
}

export function fill(element: Element, ...children: Child[]): void {
    element.replaceChildren();
    add(element, children);
}

/** Changes the text only when it is another one, so that nothing is read out twice. */
export function say(element: Element, text: string): void {
    if (element.textContent !== text) element.textContent = text;
}

/** Drawn in a square of 24. */
const ICONS = {
    goose: "M3.5 12.5c3.5 2.6 7.2 3 10 1.3l6.7-4.1 1.6.3M13.5 13.8C12.2 9.8 9 6.3 4.5 4.5M13.5 13.8C15.3 11 15.8 7.6 14.8 3.5",
    back: "M15 5l-7 7 7 7",
    send: "M4 12l16-8-6 16-3-7z",
    search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20",
    person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c.6-4 3.6-6 7.5-6s6.9 2 7.5 6",
    wait: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2",
    sent: "M6 12.5l4 4 8.5-9",
    delivered: "M1.5 12.5l4 4 8.5-9M11 15.5l1.2 1.2 9-9.5",
    failed: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7.5v5.5M12 16.3v.2",
    down: "M5 9l7 7 7-7",
    close: "M6 6l12 12M18 6L6 18",
    screen: "M3.5 5h17v11h-17zM8.5 20h7M12 16v4",
    phone: "M7.5 3h9v18h-9zM11 18h2",
} as const;
export type Icon = keyof typeof ICONS;

const SVG = "http://www.w3.org/2000/svg";

/** A picture beside a text that says the same; it is not read out. */
export function icon(name: Icon): SVGSVGElement {
    const svg = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", `icon i-${name}`);
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

/** Read out, not seen. */
export function unseen(text: string): HTMLElement {
    return h("span", { class: "unseen" }, text);
}

/**
 * Makes `parent`'s children those of `wanted`, in that order; elements stay that have a key, so
 * that focus, selection and what is read out stay too.
 */
export function arrange(parent: Element, wanted: readonly Element[]): void {
    const keep = new Set(wanted);
    for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
    wanted.forEach((element, i) => {
        if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
    });
}

const LINK = /https?:\/\/[^\s<>"'，。；！？、）】》]+[^\s<>"'，。；！？、）】》.,;:!?)\]]/g;

/** A text whose web addresses can be followed. */
export function linked(text: string): Child[] {
    const parts: Child[] = [];
    let from = 0;
    for (const found of text.matchAll(LINK)) {
        parts.push(text.slice(from, found.index));
        parts.push(h("a", { href: found[0], target: "_blank", rel: "noopener noreferrer" }, found[0]));
        from = found.index + found[0].length;
    }
    parts.push(text.slice(from));
    return parts;
}
