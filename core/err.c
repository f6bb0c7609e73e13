#include "core/err.h"
#include <stddef.h>

struct row {
    unsigned number;
    const char *name;
    enum an_category category;
    enum an_handling handling;
    const char *text;
};

#define ROW(number, name, category, handling, sentence)                                  \
    {number, #name, AN_CAT_##category, AN_HANDLE_##handling, sentence},
static const struct row rows[] = {AN_ERRORS(ROW)};
static const struct row unknown = {0, "UNKNOWN", AN_CAT_INTERNAL, AN_HANDLE_GIVE_UP,
                                   "an error this version does not know"};

static const struct row *
find(unsigned err)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].number == err) {
            return &rows[i];
        }
    }
    return &unknown;
}

const char *
an_err_name(unsigned err)
{
    return find(err)->name;
}

const char *
an_err_text(unsigned err)
{
    return find(err)->text;
}

enum an_category
an_err_category(unsigned err)
{
    return find(err)->category;
}

enum an_handling
an_err_handling(unsigned err)
{
    return find(err)->handling;
}

int
an_err_known(unsigned err)
{
    return find(err) != &unknown;
}

const char *
an_category_name(enum an_category category)
{
    static const char *const names[] = {"ok",       "auth", "permission", "not found",
                                        "conflict", "busy", "invalid",    "internal"};
    return names[category];
}

int
an_err_exit_code(unsigned err)
{
    static const int codes[] = {0, 3, 4, 5, 6, 7, 8, 9};

    return codes[an_err_category(err)];
}

enum an_err
an_err_of_frame(enum an_frame_state state)
{
    switch (state) {
    case AN_FRAME_BAD_MAGIC:
        return AN_ERR_FRAME_MAGIC;
    case AN_FRAME_BAD_VERSION:
        return AN_ERR_FRAME_VERSION;
    case AN_FRAME_BAD_FLAGS:
        return AN_ERR_FRAME_FLAGS;
    case AN_FRAME_TOO_LARGE:
        return AN_ERR_FRAME_TOO_LARGE;
    case AN_FRAME_OK:
    case AN_FRAME_MORE:
        break;
    }
    return AN_OK;
}
