from energyshare.program import *  # noqa
