/** What the page says, in English and Chinese. */

const EN = {
    title: "Anser",
    tagline: "Messages that arrive.",
    signIn: "Sign in",
    register: "Create account",
    name: "Name",
    nameHint: "1 to 64 bytes (a letter is one), no spaces",
    password: "Password",
    passwordHint: "8 to 256 bytes; a letter or digit is one",
    passwordMissing: "The password is missing.",
    oldPasswordWrong: "The current password is wrong.",
    E_REGISTER_CLOSED: "New accounts cannot be made here. Ask whoever runs this server.",
    showPassword: "Show password",
    stay: "Stay signed in on this device",
    stayHint: "Leave it off on a shared computer: nothing is kept when you close the window.",
    noAccount: "New here?",
    haveAccount: "Have an account?",
    working: "One moment…",
    elsewhere: "{name} is open in another window of this browser.",
    useHere: "Use it here",
    other: "Sign in as somebody else",
    moved: "{name} now goes on in another window.",
    conversations: "Conversations",
    find: "Find a person by name",
    findButton: "Find",
    talkTo: "Talk to {name}",
    noTalks: "No conversations yet",
    noTalksHint: "Write the name of somebody above to begin.",
    filling: "Fetching your conversations…",
    noMatch: "Nobody of your conversations is called so.",
    choose: "Choose a conversation, or find a person by name.",
    nobody: "There is nobody called “{name}”.",
    badName: "“{name}” cannot be a name.",
    findOffline: "People can be found once you are connected.",
    back: "Back to the conversations",
    write: "Message to {name}",
    send: "Send",
    empty: "No messages yet. Say hello.",
    beginning: "The beginning of your conversation with {name}",
    loading: "Loading older messages…",
    stuck: "Older messages could not be loaded.",
    retry: "Try again",
    discard: "Discard",
    latest: "To the newest message",
    fresh: "New messages",
    unread: "{n} unread",
    you: "You",
    note: "Notes to yourself",
    messages: "Messages with {name}",
    isWaiting: "waiting to be sent",
    isSent: "sent",
    isDelivered: "delivered",
    isFailed: "not sent",
    notSent: "Not sent: {why}",
    maybeSent: "No answer came. It may have arrived.",
    today: "Today",
    yesterday: "Yesterday",
    picture: "Picture, {size}",
    file: "File, {size}",
    packet: "Red packet",
    unknown: "A message this page cannot show ({size})",
    connecting: "Connecting…",
    offline: "Not connected. What you write is kept and sent as soon as it can be.",
    inSeconds: "Next try in {n} s.",
    tryNow: "Try now",
    connected: "Connected",
    account: "Your account",
    signedInAs: "Signed in as",
    language: "Language",
    devices: "Your devices",
    devicesHint: "Where you are signed in. Removing one signs it out at once.",
    thisDevice: "this window",
    lastUsed: "last used {when}",
    remove: "Remove",
    removed: "{name} was removed",
    changePassword: "Change password",
    oldPassword: "Current password",
    newPassword: "New password",
    change: "Change it",
    changed: "The password is changed. Your other devices have to sign in again.",
    signOut: "Sign out",
    signOutHint: "Removes your messages from this browser. They stay on the server.",
    signOutWaiting: "{n} messages have not been sent yet and would be lost. Sign out all the same?",
    close: "Close",
    tooLong: "This message is too long ({size}; at most {most}).",
    tooMany: "Too many messages are waiting. Try again when you are connected.",
    ended: "You have been signed out. Sign in to go on; your messages are still here.",
    keptElsewhere: "This device connected from another window.",
    skip: "Go to the conversation",
    E_PASSWORD_WRONG: "The name or the password is wrong.",
    E_USER_EXISTS: "This name is taken. Choose another, or sign in.",
    E_USER_NAME: "A name has 1 to 64 bytes, without spaces, slashes and quotation marks.",
    E_NAME_KEPT: "This name is kept for the server. Choose another.",
    E_PASSWORD_LENGTH: "A password has 8 to 256 bytes.",
    E_TOO_MANY_TRIES: "Too many tries. Wait {n} s.",
    E_TOO_MANY_DEVICES: "You are signed in on as many devices as one may have.",
    E_USER_FORBIDDEN: "This account is locked.",
    E_USER_DELETED: "This account was deleted.",
    E_REVOKED: "This device is no longer signed in: it was removed, the password was changed, or it was away for too long. Sign in, and your messages come back.",
    E_MUTED: "you may not write at the moment",
    E_USER_NOT_FOUND: "there is no such person",
    E_REFRESH_REUSED: "This window's session was used elsewhere, so it was ended. Sign in again.",
    E_KICKED: "You signed in on another device, and this one was signed out.",
    E_NETWORK: "The server does not answer. Try again in a moment.",
    E_BUSY: "The server is busy. Try again in a moment.",
    E_OTHER: "It did not work: {text}",
    noGate: "The server has no address that a web page can connect to (a ws:// or wss:// in `listen`).",
};
export type Key = keyof typeof EN;

const ZH: Record<Key, string> = {
    title: "鸿雁",
    tagline: "消息，必达。",
    signIn: "登录",
    register: "注册",
    name: "用户名",
    nameHint: "1 至 64 字节（一个汉字 3 字节），不含空格",
    password: "密码",
    passwordHint: "8 至 256 字节（一个汉字 3 字节）",
    passwordMissing: "请输入密码。",
    oldPasswordWrong: "当前密码不正确。",
    E_REGISTER_CLOSED: "此处不能注册新账号，请联系服务器的管理者。",
    showPassword: "显示密码",
    stay: "在这台设备上保持登录",
    stayHint: "公用电脑请不要勾选：关闭窗口后不留任何内容。",
    noAccount: "还没有账号？",
    haveAccount: "已有账号？",
    working: "请稍候…",
    elsewhere: "{name} 已在此浏览器的另一个窗口中打开。",
    useHere: "在这里使用",
    other: "用其他账号登录",
    moved: "{name} 已转到另一个窗口。",
    conversations: "会话",
    find: "按用户名找人",
    findButton: "查找",
    talkTo: "与 {name} 聊天",
    noTalks: "还没有会话",
    noTalksHint: "在上方输入对方的用户名，开始聊天。",
    filling: "正在获取会话…",
    noMatch: "会话中没有这个人。",
    choose: "选择一个会话，或按用户名找人。",
    nobody: "没有名为“{name}”的用户。",
    badName: "“{name}”不能作为用户名。",
    findOffline: "连接后才能找人。",
    back: "返回会话列表",
    write: "给 {name} 发消息",
    send: "发送",
    empty: "还没有消息，打个招呼吧。",
    beginning: "你与 {name} 的会话从这里开始",
    loading: "正在加载更早的消息…",
    stuck: "更早的消息未能加载。",
    retry: "重试",
    discard: "丢弃",
    latest: "到最新消息",
    fresh: "有新消息",
    unread: "{n} 条未读",
    you: "我",
    note: "给自己的备忘",
    messages: "与 {name} 的消息",
    isWaiting: "等待发送",
    isSent: "已发送",
    isDelivered: "已送达",
    isFailed: "未发送",
    notSent: "未发送：{why}",
    maybeSent: "没有收到回复，消息可能已送达。",
    today: "今天",
    yesterday: "昨天",
    picture: "图片，{size}",
    file: "文件，{size}",
    packet: "红包",
    unknown: "本页面无法显示的消息（{size}）",
    connecting: "正在连接…",
    offline: "未连接。你写的消息会保留，连接后自动发送。",
    inSeconds: "{n} 秒后重试。",
    tryNow: "立即重试",
    connected: "已连接",
    account: "我的账号",
    signedInAs: "当前登录",
    language: "语言",
    devices: "我的设备",
    devicesHint: "你已登录的设备。移除后该设备立即退出登录。",
    thisDevice: "本窗口",
    lastUsed: "最近使用：{when}",
    remove: "移除",
    removed: "已移除 {name}",
    changePassword: "修改密码",
    oldPassword: "当前密码",
    newPassword: "新密码",
    change: "修改",
    changed: "密码已修改，其他设备需要重新登录。",
    signOut: "退出登录",
    signOutHint: "将从此浏览器中删除你的消息；服务器上仍然保留。",
    signOutWaiting: "还有 {n} 条消息未发送，退出后将丢失。仍要退出吗？",
    close: "关闭",
    tooLong: "消息过长（{size}，最多 {most}）。",
    tooMany: "等待发送的消息过多，请在连接后再试。",
    ended: "你已退出登录。重新登录即可继续，消息仍在这里。",
    keptElsewhere: "此设备已从另一个窗口连接。",
    skip: "跳到会话",
    E_PASSWORD_WRONG: "用户名或密码不正确。",
    E_USER_EXISTS: "这个用户名已被使用。请换一个，或直接登录。",
    E_USER_NAME: "用户名为 1 至 64 字节，不含空格、斜杠和引号。",
    E_NAME_KEPT: "此用户名为服务器保留，请换一个。",
    E_PASSWORD_LENGTH: "密码长度为 8 至 256 字节。",
    E_TOO_MANY_TRIES: "尝试次数过多，请等待 {n} 秒。",
    E_TOO_MANY_DEVICES: "登录的设备已达上限。",
    E_USER_FORBIDDEN: "此账号已被封禁。",
    E_USER_DELETED: "此账号已被删除。",
    E_REVOKED: "此设备已不再登录：设备被移除、密码已修改，或长时间未使用。重新登录后即可找回消息。",
    E_MUTED: "你目前被禁言",
    E_USER_NOT_FOUND: "没有这个人",
    E_REFRESH_REUSED: "此窗口的登录凭证在别处被使用，已终止。请重新登录。",
    E_KICKED: "你在另一台设备上登录，此设备已退出。",
    E_NETWORK: "服务器没有响应，请稍后再试。",
    E_BUSY: "服务器繁忙，请稍后再试。",
    E_OTHER: "操作未成功：{text}",
    noGate: "服务器没有可供网页连接的地址（`listen` 中的 ws:// 或 wss://）。",
};

export const LANGUAGES = { en: "English", zh: "中文" } as const;
export type Language = keyof typeof LANGUAGES;
export const TABLES: Record<Language, Record<Key, string>> = { en: EN, zh: ZH };
const KEPT = "anser.language";

let current: Language = "en";

export function language(): Language {
    return current;
}

/** What was chosen here before, else the first of the browser's that we have. */
export function findLanguage(): void {
    const kept = localStorage.getItem(KEPT);
    const wanted = kept ? [kept] : navigator.languages;
    const found = wanted.map((one) => one.slice(0, 2)).find((one) => one in TABLES);
    use((found as Language | undefined) ?? "en");
}

export function chooseLanguage(chosen: Language): void {
    localStorage.setItem(KEPT, chosen);
    use(chosen);
}

function use(chosen: Language): void {
    current = chosen;
    document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

/** The text of that key, with {name}s filled in. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
    return TABLES[current][key].replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
}

/** What an error of that name is called, else the server's own sentence. */
export function tellError(name: string, text: string, n = 0): string {
    const key = `E_${name}`;
    return t(key in EN ? key as Key : "E_OTHER", { n, text: text || name });
}

type Format = "clock" | "long" | "longYear" | "short" | "shortYear";
const FORMATS: Record<Format, Intl.DateTimeFormatOptions> = {
    clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    long: { weekday: "long", month: "long", day: "numeric" },
    longYear: { weekday: "long", month: "long", day: "numeric", year: "numeric" },
    short: { month: "numeric", day: "numeric" },
    shortYear: { month: "numeric", day: "numeric", year: "2-digit" },
};
const made = new Map<string, Intl.DateTimeFormat>(); // to make one takes long

function format(how: Format, ms: number): string {
    const key = current + how;
    let one = made.get(key);
    if (!one) {
        one = new Intl.DateTimeFormat(current === "zh" ? "zh-CN" : "en", FORMATS[how]);
        made.set(key, one);
    }
    return one.format(ms);
}

export function clock(ms: number): string {
    return format("clock", ms);
}

/** 0 is today, by this machine's clock. */
export function daysAgo(ms: number): number {
    const day = (at: Date) => Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / 86_400_000;
    return day(new Date()) - day(new Date(ms));
}

function withYear(ms: number): boolean {
    return new Date(ms).getFullYear() !== new Date().getFullYear();
}

export function day(ms: number): string {
    const ago = daysAgo(ms);
    if (ago === 0) return t("today");
    if (ago === 1) return t("yesterday");
    return format(withYear(ms) ? "longYear" : "long", ms);
}

/** As short as it can be told: the time today, else the day. */
export function when(ms: number): string {
    const ago = daysAgo(ms);
    if (ago === 0) return clock(ms);
    if (ago === 1) return t("yesterday");
    return format(withYear(ms) ? "shortYear" : "short", ms);
}

export function bytes(count: number): string {
    return count < 1024 ? `${count} B` : `${(count / 1024).toFixed(count < 10_240 ? 1 : 0)} KB`;
}
